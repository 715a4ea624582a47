/** What to do about a job that has failed, by the code of its error; docs/errors.md says the same. */

const ADVICE = /** @type {Record<string, string>} */ ({
  checkpoint_unreadable: "Put the file back from a backup, or train again without it.",
  crashed: "Check the memory and the installation of NumPy and h5py, then train again from the last checkpoint.",
  diverged: "Lower the learning rate, clip gradients, or scale the inputs.",
  internal_error: "The trainer's log has the traceback.",
  out_of_memory: "Use a smaller batch or model, or set TRAINYARD_PARALLEL_JOBS lower.",
  storage_error: "Check the disk. Training continues, and the next checkpoint is tried.",
  storage_full: "Free space. Training continues, and the next checkpoint is tried.",
  worker_lost: "Train again from the last checkpoint. The trainer's log has the signals.",
});

/** @param {string | undefined} code */
export const adviceFor = (code) => ADVICE[code ?? ""] ?? "The detail says what was refused; change that and train again.";
