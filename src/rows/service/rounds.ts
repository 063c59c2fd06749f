/**
 * Shares one piece of work between all who wanted it before it began. Who comes while it is under way
 * gets the next round: the answer must be no older than the question.
 */
interface Round<Result> {
  readonly running: Promise<Result>;
  next: Promise<Result> | undefined;
}

export class Rounds<Result> {
  readonly #rounds = new Map<string, Round<Result>>();

  run(key: string, task: () => Promise<Result>): Promise<Result> {
    const round = this.#rounds.get(key);
    if (round === undefined) return this.#begin(key, task);
    const begin = (): Promise<Result> => this.#begin(key, task);
    round.next ??= round.running.then(begin, begin);
    return round.next;
  }

  #begin(key: string, task: () => Promise<Result>): Promise<Result> {
    const round: Round<Result> = { running: task(), next: undefined };
    this.#rounds.set(key, round);
    const done = (): void => {
      if (this.#rounds.get(key) === round && round.next === undefined) this.#rounds.delete(key);
    };
    round.running.then(done, done);
    return round.running;
  }
}
