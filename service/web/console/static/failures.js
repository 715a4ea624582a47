/** What to do about a job that failed, as docs/errors.md says it. */

/** @type {Record<string, string>} */
const ADVICE = {
  checkpoint_unreadable: "Put the file back from a backup, or train again without it.",
  crashed: "Check the memory and the installation of NumPy and h5py, then train again from the last checkpoint.",
  diverged: "Lower the learning rate, clip gradients, or scale the inputs.",
  internal_error: "The trainer's log has the traceback.",
  out_of_memory: "Use a smaller batch or model, or run fewer jobs at a time (TRAINYARD_PARALLEL_JOBS).",
  storage_error: "Check the disk; the log names the path.",
  storage_full: "Free space, for example by deleting models or datasets, then train again.",
  training_too_large: "Use a smaller model or batch, fewer rows or fewer epochs.",
  validation_failed: "Correct what the cause names, then train again.",
  worker_lost: "Train again from the last checkpoint; the trainer's log has the signals.",
};

/** @param {string} code */
export const whatToDo = (code) => ADVICE[code] ?? "Change what the cause names, then train again.";
