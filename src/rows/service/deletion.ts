/**
 * The three steps by which a container is deleted (consistency.md, "Rows"):
 *
 *   seal     checks that no row lives here (where one does, after a pull as for a listing) and refuses rows
 *            of new writes from then on, then pulls and checks again; W sealed replicas prove that no acknowledged row lives
 *   remove   writes the tombstone, where the seal still holds
 *   unseal   when not all were empty; a seal also lapses by itself
 *
 * The interleaving that the seal closes: DELETE finds the container empty, a PUT's row is
 * acknowledged, DELETE writes its tombstone, and the object is in no listing.
 */

import { newestTimestamp } from '#base/entry.ts';
import { decodeState } from '#base/entry-codec.ts';
import { maxTimestamp, type Timestamp, ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { malformed, parseRemove, parseSeal, parseUnseal } from './arguments.ts';
import type { RemoveReply, RowAddress, SealReply, UnsealReply } from './calls.ts';
import type { RowCallContext, RowContext, RowDevice, RowHandler } from './context.ts';
import type { Existence } from './existence.ts';
import type { Freshness, PullWish } from './freshness.ts';
import type { RowRules } from './row-service.ts';
import type { Seals } from './seals.ts';

export class Deletion {
  readonly #context: RowContext;
  readonly #seals: Seals;
  readonly #freshness: Freshness;
  readonly #existence: Existence;
  readonly #rules: RowRules;

  constructor(
    context: RowContext,
    seals: Seals,
    freshness: Freshness,
    existence: Existence,
    rules: RowRules,
  ) {
    this.#context = context;
    this.#seals = seals;
    this.#freshness = freshness;
    this.#existence = existence;
    this.#rules = rules;
  }

  register(handle: (method: string, handler: RowHandler) => void): void {
    handle('seal', async (args, call) => ({ result: await this.#seal(args, call) }));
    handle('unseal', (args) => ({ result: this.#unseal(args) }));
    handle('remove', async (args, call) => ({ result: await this.#remove(args, call) }));
  }

  async #seal(args: unknown, call: RowCallContext): Promise<SealReply> {
    const { seal, deadlineMs, ...address } = parseSeal(args);
    const { target, reply } = this.#open(address);
    const { hash, path } = address;
    const id = target.device.id;
    if (this.#hasRow(target, hash)) await this.#catchUp(target, { hash, path, txn: call.txn });
    // In one turn: no row can slip in between the check and the seal.
    if (this.#hasRow(target, hash)) return reply('not-empty');
    if (!this.#seals.set(id, hash, seal, deadlineMs)) return reply('busy');
    let outcome: SealReply['outcome'] = 'busy';
    try {
      await this.#freshness.bringUpToDate(target, { hash, path, txn: call.txn });
      outcome = this.#verdict(target, hash, seal);
    } finally {
      if (outcome !== 'sealed') this.#seals.release(id, hash, seal);
    }
    return reply(outcome);
  }

  /**
   * The deletion of the last row may still be on its way here. Left out for that, this replica would miss the
   * container's deletion, go on taking rows, and make the others take them: a PUT after it was 201.
   */
  async #catchUp(target: RowDevice, wish: PullWish): Promise<void> {
    await this.#freshness.bringUpToDate(target, wish).catch(() => undefined);
  }

  #verdict(target: RowDevice, hash: Buffer, seal: string): SealReply['outcome'] {
    if (!this.#seals.isHeldBy(target.device.id, hash, seal)) return 'busy';
    if (this.#hasRow(target, hash)) return 'not-empty';
    return this.#existence.isLiveHere(target, hash) ? 'sealed' : 'missing';
  }

  #unseal(args: unknown): UnsealReply {
    const { seal, hash, device, ringVersion } = parseUnseal(args);
    const target = this.#context.open(device, ringVersion, hash);
    this.#seals.release(target.device.id, hash, seal);
    return { outcome: 'unsealed' };
  }

  async #remove(args: unknown, call: RowCallContext): Promise<RemoveReply> {
    const { seal, state: bytes, listing, ...address } = parseRemove(args);
    const { target, reply } = this.#open(address);
    const { hash, path } = address;
    const { ring, options } = this.#context;
    const state = decodeState(bytes);
    if (state.data?.kind !== 'deleted') throw malformed('state');
    options.clock.observe(newestTimestamp(state));
    const answer = (
      outcome: RemoveReply['outcome'],
      listedOn: readonly number[] = [],
    ): RemoveReply => ({
      ...reply(outcome),
      listedOn,
    });
    if (this.#hasRow(target, hash)) return answer('not-empty');
    const isSealed = this.#seals.isHeldBy(target.device.id, hash, seal);
    if (!isSealed && this.#existence.isLiveHere(target, hash)) return answer('not-sealed');
    const own = target.rows.read(ring, hash, '');
    const tombstone = this.#rules.tombstone(own, state);
    const key = { policy: ring, hash };
    const { outcome } = await target.rows.write({ key, path, name: '', state: tombstone });
    this.#seals.release(target.device.id, hash, seal);
    return answer(outcome, await this.#rules.committed(target, hash, listing, call.txn));
  }

  #open(address: RowAddress) {
    const target = this.#context.open(address.device, address.ringVersion, address.hash);
    const { hash, path } = address;
    this.#context.checkPath(path, hash);
    const reply = <Outcome>(outcome: Outcome) => ({
      outcome,
      newest: this.#newest(target, hash),
      complete: this.#context.isComplete(target, hash),
    });
    return { target, reply };
  }

  #hasRow(target: RowDevice, hash: Buffer): boolean {
    return target.rows.hasLiveRow(this.#context.ring, hash);
  }

  /** Of the rows and of the container itself, also while it is on its way through the log. */
  #newest(target: RowDevice, hash: Buffer): Timestamp {
    const { ring } = this.#context;
    const own = target.rows.read(ring, hash, '');
    const rows = target.rows.facts(ring, hash)?.newest ?? ZERO_TIMESTAMP;
    return own === undefined ? rows : maxTimestamp(rows, newestTimestamp(own));
  }
}
