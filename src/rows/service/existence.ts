/**
 * Whether a container exists, where this replica alone can't tell: it knows of none, but may have
 * missed the creation; or it knows a tombstone, but may have missed that it was created again. It then
 * asks R replicas (itself one of them, when complete) and joins what they know of the container's own
 * state. Rows of many writes share one question.
 */
import { isLive } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import type { RowTarget, StateReply } from './calls.ts';
import type { RowContext, RowDevice } from './context.ts';
import type { PullWish } from './freshness.ts';
import { Gathering } from './gathering.ts';
import { parseStateReply } from './replies.ts';
import { Rounds } from './rounds.ts';

const CALL_DEADLINE_MS = 2000;

export class Existence {
  readonly #context: RowContext;
  readonly #rounds = new Rounds<boolean>();

  constructor(context: RowContext) {
    this.#context = context;
  }

  /** Created and not deleted, or with live rows, as far as this replica knows. */
  isLiveHere({ rows }: RowDevice, hash: Buffer): boolean {
    const { ring } = this.#context;
    // A container's own state has no delete-at, so the time does not matter.
    return isLive(rows.read(ring, hash, ''), 0) || rows.hasLiveRow(ring, hash);
  }

  /**
   * As R replicas know; this one has joined their states of the container then. With `everybody` it
   * waits until each replica has answered or failed: a creation must see its rivals.
   * @throws OperatingError `unavailable`; the device's errors
   */
  find(target: RowDevice, wish: PullWish, everybody = false): Promise<boolean> {
    const key = `${target.device.id} ${everybody} ${wish.hash.toString('latin1')}`;
    return this.#rounds.run(key, () => this.#ask(target, wish, everybody));
  }

  async #ask(target: RowDevice, wish: PullWish, everybody: boolean): Promise<boolean> {
    const context = this.#context;
    const replicas = context.replicasFor(target, wish.hash);
    const self = { device: target.device.id, complete: context.isComplete(target, wish.hash) };
    let live = false;
    const ask = async (peer: RowTarget): Promise<boolean> => {
      const reply = await this.#stateOf(peer, wish, replicas.ringVersion);
      if (reply.state !== null) await this.#takeIn(target, wish, reply.state);
      // By its rows: whether it was deleted since it was made, all states together say, not the peer's alone, which may
      // be behind or, while the container is being removed, come last.
      live ||= reply.rows;
      return reply.complete;
    };
    const gathering = new Gathering(context.options.env.clock, replicas, self, ask);
    await (everybody ? gathering.all() : gathering.untilEnough());
    return live || this.isLiveHere(target, wish.hash);
  }

  async #stateOf(
    peer: RowTarget,
    { hash, path, txn }: PullWish,
    ringVersion: number,
  ): Promise<StateReply> {
    const options = { txn, deadlineMs: CALL_DEADLINE_MS };
    return parseStateReply(
      await this.#context.call(peer, 'state', { hash, path, ringVersion }, options),
    );
  }

  async #takeIn(target: RowDevice, { hash, path }: PullWish, bytes: Buffer): Promise<void> {
    const key = { policy: this.#context.ring, hash };
    const state = decodeState(bytes);
    if (this.#context.isReclaimed(target, hash, '', state)) return;
    await target.rows.write({ key, path, name: '', state });
  }
}
