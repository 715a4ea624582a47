/** The epochs of a job as columns: of one network, or of each member. */

/** @typedef {"loss" | "accuracy" | "validation_loss" | "validation_log_loss" | "validation_accuracy" | "learning_rate" | "seconds"} Metric */
/** @type {Metric[]} */
const METRICS = ["loss", "accuracy", "validation_loss", "validation_log_loss", "validation_accuracy", "learning_rate", "seconds"];

/** The epochs of one network. */
export class Run {
  /** @type {number[]} */ x = [];
  columns = /** @type {Record<Metric, (number | null)[]>} */ (/** @type {unknown} */ (Object.fromEntries(METRICS.map((name) => [name, []]))));

  /** Add an epoch. One that is known is replaced: a job that was interrupted repeats some. @param {any} epoch */
  add(epoch) {
    const { x, columns } = this;
    let place = x.length;
    while (place && x[place - 1] >= epoch.epoch) place -= 1;
    const known = x[place] === epoch.epoch ? 1 : 0;
    x.splice(place, known, epoch.epoch);
    for (const name of METRICS) columns[name].splice(place, known, epoch[name] ?? null);
  }
}

/** All epochs of a job. */
export class RunHistory {
  run = new Run();
  /** @type {Map<number, Run>} */ members = new Map();

  /** @param {any} epoch  of `/jobs/{id}/history`, or of an event */
  add(epoch) {
    let run = this.run;
    if (epoch.member) {
      run = this.members.get(epoch.member) ?? new Run();
      this.members.set(epoch.member, run);
    }
    run.add(epoch);
  }

  get empty() {
    return !this.run.x.length && !this.members.size;
  }
}

/** The newest value of a metric, null if there is none. @param {Run} run @param {Metric} name */
export const newest = (run, name) => run.columns[name].findLast((value) => value !== null) ?? null;

/**
 * The mean of several networks, each as it was at an epoch: one that has ended stays as it was at its end.
 * @param {Run[]} runs @returns {Run}
 */
export function mean(runs) {
  const all = new Run(),
    used = runs.filter(({ x }) => x.length);
  all.x = [...new Set(used.flatMap(({ x }) => x))].sort((a, b) => a - b);
  for (const name of METRICS) {
    const sums = new Float64Array(all.x.length),
      counts = new Uint32Array(all.x.length);
    for (const { x, columns } of used) {
      const values = columns[name];
      let last = /** @type {number | null} */ (null);
      for (let place = 0, at = 0; place < all.x.length; place += 1) {
        for (; at < x.length && x[at] <= all.x[place]; at += 1) last = values[at] ?? last;
        if (last === null) continue;
        sums[place] += last;
        counts[place] += 1;
      }
    }
    all.columns[name] = Array.from(sums, (sum, place) => (counts[place] ? sum / counts[place] : null));
  }
  return all;
}

/**
 * Moving mean with weights that fall by `weight` a value, and no pull towards 0 at the start.
 * @param {(number | null)[]} values @param {number} weight  0 (as they are) to below 1
 */
export function smooth(values, weight) {
  if (!weight) return values;
  let sum = 0,
    total = 0;
  return values.map((value) => {
    if (value === null) return null;
    [sum, total] = [weight * sum + (1 - weight) * value, weight * total + (1 - weight)];
    return sum / total;
  });
}
