/**
 * How a state that a call brought becomes durable here: alone, with the body that came with it, with one
 * that was staged before, or with one that has to be fetched first.
 */
import { bodyLength, type DataPart, EMPTY_STATE, type EntryState, join } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type EntryKey,
  type StagedBody,
  type WriteOutcome,
} from '#device/contract.ts';
import type { BodyPuller } from './body-puller.ts';
import { committed } from './bring-body.ts';
import type { WriteArgs } from './calls.ts';
import type { Guard } from './guard.ts';
import { isToList, lacksBodyOf, mustWait } from './incoming.ts';
import type { StagedWrites } from './staged-writes.ts';

/** What a call asks to be stored. */
export interface Commit {
  readonly device: Device;
  readonly key: EntryKey;
  readonly request: WriteArgs;
  /** That of the request, decoded. */
  readonly state: EntryState;
  /** Aborts when the caller has given up. */
  readonly signal: AbortSignal;
}

/** Stores the state of a commit, or another, with this body. */
export type Store = (
  body: Buffer | StagedBody | undefined,
  state?: EntryState,
) => Promise<WriteOutcome>;

/** A body, and the state that it belongs to. */
interface Brought {
  readonly state: EntryState;
  readonly body: Buffer | StagedBody;
}

export class Commits {
  readonly #guard: Guard;
  readonly #puller: BodyPuller;
  readonly #staged: StagedWrites;

  constructor(guard: Guard, puller: BodyPuller, staged: StagedWrites) {
    this.#guard = guard;
    this.#puller = puller;
    this.#staged = staged;
  }

  /** @throws OperatingError `no-body`, `no-stage`, `length-mismatch`, `ring-old`, `moved`; the device's errors */
  async run(commit: Commit): Promise<WriteOutcome> {
    const { device, key, request, state } = commit;
    const { path, intent, afterRound, body, stage } = request;
    const isNews = intent === 'join' && isToList(device, key, device.stat(key), state);
    const unlisted = request.listing !== undefined || request.unlisted === true || isNews;
    const needsBody = intent === 'accept' && this.#guard.keepsBody(device, key);
    // In the turn in which the device takes it: see Guard.checkPlaced.
    const store: Store = (what, as = state) => {
      if (intent === 'accept') this.#guard.checkRound(device, request);
      else this.#guard.checkPlaced(device, request);
      const how = { unlisted, intent, afterRound, needsBody };
      return device.write({ key, path, state: as, body: what, ...how });
    };
    if (intent === 'accept' && request.sources !== undefined) return this.#keep(commit, store);
    if (stage !== undefined) return this.#staged.commit(commit, stage, store);
    checkLength(state, body);
    if (intent !== 'join' || body !== undefined) return store(body);
    const brought = await this.#withState(commit, unlisted);
    return store(brought?.body, brought?.state);
  }

  /** A record that keeps an earlier body, which is not here: it counts as accepted only with it. */
  async #keep(commit: Commit, store: Store): Promise<WriteOutcome> {
    const { data } = commit.state;
    const body = data && (await this.#bring(commit, data));
    if (body === undefined) throw new OperatingError('no-body', 'nobody gave the body');
    return committed(body, async () => {
      const outcome = await store(body);
      if (outcome.kind !== 'stored' && !Buffer.isBuffer(body)) await body.abandon();
      return outcome;
    });
  }

  /**
   * The body that a joined state comes with; undefined: it is joined alone. A large one is fetched behind, and
   * the state, where that has to wait for it (incoming.ts), is joined then.
   */
  async #withState(commit: Commit, unlisted: boolean): Promise<Brought | undefined> {
    const { device, key, request, state } = commit;
    const { path, sources = [], from } = request;
    const existing = device.stat(key);
    const waits = mustWait(existing, state);
    // What is handed over comes at once, before all that a refill has to fetch: its stand-in waits for that.
    const isHanded = from !== undefined;
    const isWanted = waits || (isHanded && sources.length > 0 && lacksBodyOf(existing, state));
    if (!isWanted || !this.#guard.keepsBody(device, key)) return undefined;
    // A bare POST may revive what expired here: the body is that of what it is joined to.
    const joined = join(existing?.state ?? EMPTY_STATE, state);
    const isLarge = bodyLength(joined) > DEFAULT_INLINE_LIMIT;
    if (isLarge) {
      const incoming = { path, state, unlisted };
      this.#puller.enqueue({ device: device.id, ...key, sources, incoming, isHanded });
    }
    const body = isLarge ? undefined : await this.#bring(commit, joined.data!);
    if (waits && body === undefined) {
      throw new OperatingError('no-body', 'it is joined with its body only');
    }
    return body && { state: joined, body };
  }

  #bring(
    { device, key, request, signal }: Commit,
    data: DataPart,
  ): Promise<Buffer | StagedBody | undefined> {
    const { intent, sources = [], from } = request;
    // Only a device that hands over names itself; else somebody waits for what is missing here.
    const budgeted = intent === 'join' && from !== undefined ? signal : undefined;
    return this.#puller.bring(device, key, data, sources, budgeted);
  }
}

/** @throws OperatingError `length-mismatch` */
export function checkLength(
  state: EntryState,
  body: { readonly length: number } | undefined,
): void {
  if (body === undefined) return;
  if (state.data?.body?.length !== body.length) {
    throw new OperatingError('length-mismatch', 'the body is not as long as its state says', {
      length: body.length,
    });
  }
}
