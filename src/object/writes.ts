/**
 * object.write, object.accept, object.stage, object.abandon: a body becomes durable, then current, then
 * listed; and object.promise, which opens a conditional round.
 *
 * The order is the promise: the device has synced the state (and the body before it) when `write`
 * resolves; the row goes out only after that, so that a listing never shows what is not there; the
 * entry stays marked unlisted until a container replica has acknowledged the row, so that no crash
 * between the two loses it (the updater sends it again).
 */

import { dataTimestamp, type EntryState, isLive, newestTimestamp, sameBody } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type Entry,
  type EntryKey,
  type StagedBody,
  type WriteOutcome,
} from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { CallContext, Reply } from '#wire/contract.ts';
import { parseAbandon, parsePromise, parseStage, parseWrite } from './args.ts';
import type { BodyPuller } from './body-puller.ts';
import { committed } from './bring-body.ts';
import type {
  EntryAddress,
  Previous,
  PromiseReply,
  StageReply,
  Target,
  WriteArgs,
  WriteReply,
} from './calls.ts';
import type { DebtBrake } from './debt.ts';
import type { Guard } from './guard.ts';
import { isToList, mustWait } from './incoming.ts';
import type { Listed, Lister } from './lister.ts';
import { type Stage, Stages } from './stages.ts';

const UNLISTED: Listed = { listedOn: [], held: false };

export class Writes {
  readonly #env: Env;
  readonly #guard: Guard;
  readonly #lister: Lister;
  readonly #puller: BodyPuller;
  readonly #brake: DebtBrake;
  readonly #stages: Stages;

  constructor(env: Env, guard: Guard, lister: Lister, puller: BodyPuller, brake: DebtBrake) {
    this.#brake = brake;
    this.#env = env;
    this.#guard = guard;
    this.#lister = lister;
    this.#puller = puller;
    this.#stages = new Stages(env);
  }

  close(): Promise<void> {
    return this.#stages.close();
  }

  readonly write = async (args: unknown, context: CallContext): Promise<Reply> => {
    const request = parseWrite(args);
    if (request.intent === 'accept') throw new OperatingError('malformed', 'that is object.accept');
    const reply = await this.#write(this.#guard.device(request), request, context);
    if (request.intent === 'write') await this.#brake.hold(request, context.deadline.signal);
    return reply;
  };

  readonly accept = async (args: unknown, context: CallContext): Promise<Reply> => {
    const request = parseWrite(args);
    if (request.intent !== 'accept') throw new OperatingError('malformed', 'that is object.write');
    return this.#write(this.#deviceOfRound(request), request, context);
  };

  readonly promise = async (args: unknown): Promise<Reply> => {
    const request = parsePromise(args);
    const device = this.#deviceOfRound(request);
    this.#guard.checkName(request.path, request.hash);
    const key: EntryKey = { policy: request.policy, hash: request.hash };
    const { kind, newest, entry, certain } = await device.promise(
      key,
      request.path,
      request.ballot,
    );
    const result: PromiseReply = {
      outcome: kind,
      newest,
      state: entry === undefined ? null : encodeState(entry.state),
      hasBody: entry?.hasBody ?? false,
      complete: device.completeness.isComplete(key.policy, key.hash),
      certain,
    };
    return { result };
  };

  #deviceOfRound(call: EntryAddress): Device {
    const device = this.#guard.deviceById(call.device);
    this.#guard.checkRound(device, call);
    return device;
  }

  async #write(device: Device, request: WriteArgs, context: CallContext): Promise<Reply> {
    this.#guard.checkName(request.path, request.hash);
    this.#guard.checkSender(request.from);
    const state = decodeState(request.state);
    const key: EntryKey = { policy: request.policy, hash: request.hash };
    // Only a deletion tells what it found: looking up a name that is new costs an index search.
    const tells = state.data?.kind === 'deleted' && request.intent === 'write';
    const before = tells ? device.stat(key) : undefined;
    const body = request.body ?? (context.body && (await collect(context.body)));
    checkInTime(context);
    const { signal } = context.deadline;
    const outcome = await this.#commit(device, key, { ...request, body }, state, signal);
    const stored = outcome.kind === 'stored';
    const listed = stored ? await this.#list(device, key, request, state, context) : UNLISTED;
    if (stored && request.intent === 'join') this.#fetchBody(device, request, state);
    const result: WriteReply = {
      outcome: outcome.kind,
      newest: outcome.newest,
      complete: device.completeness.isComplete(key.policy, key.hash),
      listedOn: listed.listedOn,
      ...(listed.refused !== undefined && { refused: listed.refused }),
      ...(tells && { previous: this.#previous(before, state) }),
    };
    return { result };
  }

  readonly stage = async (args: unknown, context: CallContext): Promise<Reply> => {
    const request = parseStage(args);
    // By whatever ring: bytes that are staged have no effect, and a long upload must outlive a ring change.
    const device = this.#guard.deviceById(request.device);
    this.#guard.checkName(request.path, request.hash);
    if (context.body === undefined) throw new OperatingError('malformed', 'a stage has a body');
    const key: EntryKey = { policy: request.policy, hash: request.hash };
    const body = await device.stage(key);
    let stage: string;
    try {
      for await (const chunk of context.body) await body.write(chunk);
      await body.finish();
      stage = this.#stages.add({ device, body, path: request.path });
    } catch (error) {
      await body.abandon();
      throw error;
    }
    const entry = device.stat(key);
    const result: StageReply = {
      stage,
      length: body.length,
      newest: entry === undefined ? ZERO_TIMESTAMP : newestTimestamp(entry.state),
      complete: device.completeness.isComplete(key.policy, key.hash),
    };
    return { result };
  };

  readonly abandon = async (args: unknown): Promise<Reply> => {
    const { device, stage } = parseAbandon(args);
    const staged = this.#stages.take(stage, this.#guard.deviceById(device));
    await staged?.body.abandon();
    return { result: { abandoned: staged !== undefined } };
  };

  async #commit(
    device: Device,
    key: EntryKey,
    request: WriteArgs,
    state: EntryState,
    signal: AbortSignal,
  ): Promise<WriteOutcome> {
    const { path, intent } = request;
    const isNews = intent === 'join' && isToList(device, key, device.stat(key), state);
    const unlisted = request.listing !== undefined || request.unlisted === true || isNews;
    // In the turn in which the device takes it: see Guard.checkPlaced.
    const write = (body: Buffer | StagedBody | undefined): Promise<WriteOutcome> => {
      if (intent === 'accept') this.#guard.checkRound(device, request);
      else this.#guard.checkPlaced(device, request);
      return device.write({ key, path, state, body, unlisted, intent });
    };
    if (intent === 'accept' && request.sources !== undefined) {
      return this.#bring(device, key, state, request.sources, write);
    }
    if (request.stage === undefined) {
      checkLength(state, request.body);
      const isWhole = intent !== 'join' || request.body !== undefined;
      const joined = { ...request, unlisted };
      return write(isWhole ? request.body : await this.#whole(device, key, joined, state, signal));
    }
    const stage = this.#stages.take(request.stage, device);
    if (stage === undefined) {
      const before = device.stat(key);
      // An earlier ballot of this write has used it, and its body has one name in all of them.
      const isKept = intent === 'accept' && before?.hasBody && sameBody(before.state, state);
      return isKept ? write(undefined) : this.#repeat(device, before, state, write);
    }
    return this.#commitStage(request, stage, write);
  }

  /**
   * The body that a joined state has to come with: see incoming.ts. A large one is fetched behind, and
   * the state joined then.
   */
  async #whole(
    device: Device,
    key: EntryKey,
    { path, sources = [], unlisted = false, from }: WriteArgs,
    state: EntryState,
    signal: AbortSignal,
  ): Promise<Buffer | StagedBody | undefined> {
    const { data } = state;
    if (!mustWait(device.stat(key), state) || !this.#guard.keepsBody(device, key)) return undefined;
    const isLarge = (data?.body?.length ?? 0) > DEFAULT_INLINE_LIMIT;
    if (isLarge) {
      const incoming = { path, state, unlisted };
      this.#puller.enqueue({ device: device.id, ...key, sources, incoming });
    }
    // Only a device that hands over names itself; else a reader has met what is missing here.
    const budgeted = from === undefined ? undefined : signal;
    const body = isLarge
      ? undefined
      : await this.#puller.bring(device, key, data!, sources, budgeted);
    if (body === undefined) throw new OperatingError('no-body', 'it is joined with its body only');
    return body;
  }

  /**
   * A commit that was sent twice finds its stage used. At the same timestamp it is done. At a higher one
   * (the others did not take the first) the body is copied, for what is here must be at what is acknowledged.
   */
  async #repeat(
    device: Device,
    before: Entry | undefined,
    state: EntryState,
    write: (body: StagedBody) => Promise<WriteOutcome>,
  ): Promise<WriteOutcome> {
    const own = state.data;
    if (before === undefined || own === undefined || before.state.data?.writeId !== own.writeId) {
      throw new OperatingError('no-stage', 'the staged body is not here (any more)');
    }
    const newest = newestTimestamp(before.state);
    if (newest === own.timestamp) return { kind: 'stored', newest };
    if (newest > own.timestamp) return { kind: 'superseded', newest };
    const body = await device.stage(before.key);
    let stored = false;
    try {
      const range = { start: 0, end: before.state.data.body?.length ?? 0 };
      for await (const chunk of device.read(before, range)) await body.write(chunk);
      await body.finish();
      const outcome = await write(body);
      stored = outcome.kind === 'stored';
      return outcome;
    } finally {
      if (!stored) await body.abandon();
    }
  }

  /** A record that keeps an earlier body, which is not here: it counts as accepted only with it. */
  async #bring(
    device: Device,
    key: EntryKey,
    state: EntryState,
    sources: readonly Target[],
    write: (body: StagedBody | Buffer) => Promise<WriteOutcome>,
  ): Promise<WriteOutcome> {
    const body = state.data && (await this.#puller.bring(device, key, state.data, sources));
    if (body === undefined) throw new OperatingError('no-body', 'nobody gave the body');
    return committed(body, async () => {
      const outcome = await write(body);
      if (outcome.kind !== 'stored' && !Buffer.isBuffer(body)) await body.abandon();
      return outcome;
    });
  }

  /** A stage that did not become current is kept: its writer sends again with a higher timestamp. */
  async #commitStage(
    request: WriteArgs,
    stage: Stage,
    write: (body: StagedBody) => Promise<WriteOutcome>,
  ): Promise<WriteOutcome> {
    const { body } = stage;
    let stored = false;
    try {
      if (stage.path !== request.path)
        throw new OperatingError('malformed', 'stage of another name');
      checkLength(decodeState(request.state), body);
      const outcome = await write(body);
      stored = outcome.kind === 'stored';
      return outcome;
    } finally {
      if (!stored) this.#stages.restore(request.stage!, stage);
    }
  }

  async #list(
    device: Device,
    key: EntryKey,
    request: WriteArgs,
    state: EntryState,
    context: CallContext,
  ): Promise<Listed> {
    if (request.listing === undefined) return UNLISTED;
    // What was stored is the newest here, so with a data part it is all that a listing shows; a
    // metadata update is shown with the data that it does not carry.
    const shown = state.data === undefined ? (device.stat(key)?.state ?? state) : state;
    const listed = await this.#lister.list(request.path, shown, request.listing, context.txn);
    if (listed.held) device.markListed(key, newestTimestamp(shown));
    return listed;
  }

  #fetchBody(device: Device, request: WriteArgs, state: EntryState): void {
    if (request.sources === undefined || state.data === undefined) return;
    this.#puller.enqueue({
      device: device.id,
      policy: request.policy,
      hash: request.hash,
      sources: request.sources,
    });
  }

  /** Undefined where a repair brought this very deletion first: what was there before is forgotten. */
  #previous(before: Entry | undefined, { data }: EntryState): Previous | undefined {
    if (before !== undefined && before.state.data?.writeId === data?.writeId) return undefined;
    if (before === undefined) return { data: ZERO_TIMESTAMP, newest: ZERO_TIMESTAMP, live: false };
    const { state } = before;
    const live = isLive(state, this.#env.clock.wallMicros() / 1e6);
    return { data: dataTimestamp(state), newest: newestTimestamp(state), live };
  }
}

function checkLength(state: EntryState, body: { readonly length: number } | undefined): void {
  if (body === undefined) return;
  if (state.data?.body?.length !== body.length) {
    throw new OperatingError('length-mismatch', 'the body is not as long as its state says', {
      length: body.length,
    });
  }
}

/** A body that is too large for the call itself, but not for memory. */
async function collect(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > DEFAULT_INLINE_LIMIT) {
      throw new OperatingError('malformed', 'a body of this size is staged', { length });
    }
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

function checkInTime(context: CallContext): void {
  if (context.deadline.remainingMs() <= 0) {
    throw new OperatingError('timeout', 'the deadline passed before the commit');
  }
}
