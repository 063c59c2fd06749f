/**
 * object.write, object.accept: a state becomes durable, body first (commit.ts), then listed; and
 * object.promise, which opens a conditional round.
 *
 * The order is the promise: the device has synced the state (and the body before it) when `write`
 * resolves; the row goes out only after that, so that a listing never shows what is not there; the
 * entry stays marked unlisted until a container replica has acknowledged the row, so that no crash
 * between the two loses it (the updater sends it again).
 */

import { dataTimestamp, type EntryState, isLive, newestTimestamp } from '#base/entry.ts';
import { decodeState, encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import { ZERO_TIMESTAMP } from '#base/timestamp.ts';
import { DEFAULT_INLINE_LIMIT, type Device, type Entry, type EntryKey } from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { CallContext, Reply } from '#wire/contract.ts';
import { parsePromise, parseWrite } from './args.ts';
import type { BodyPuller } from './body-puller.ts';
import type { EntryAddress, Previous, PromiseReply, WriteArgs, WriteReply } from './calls.ts';
import type { Commits } from './commit.ts';
import type { DebtBrake } from './debt.ts';
import type { Guard } from './guard.ts';
import type { Listed, Lister } from './lister.ts';

const UNLISTED: Listed = { listedOn: [], held: false };

export interface WritesParts {
  readonly env: Env;
  readonly guard: Guard;
  readonly commits: Commits;
  readonly lister: Lister;
  readonly puller: BodyPuller;
  readonly brake: DebtBrake;
}

export class Writes {
  readonly #env: Env;
  readonly #guard: Guard;
  readonly #lister: Lister;
  readonly #puller: BodyPuller;
  readonly #brake: DebtBrake;
  readonly #commits: Commits;

  constructor({ env, guard, commits, lister, puller, brake }: WritesParts) {
    this.#brake = brake;
    this.#commits = commits;
    this.#env = env;
    this.#guard = guard;
    this.#lister = lister;
    this.#puller = puller;
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
    const whole = { ...request, body };
    const { signal } = context.deadline;
    const outcome = await this.#commits.run({ device, key, request: whole, state, signal });
    const stored = outcome.kind === 'stored';
    const listed = stored ? await this.#list(device, key, request, state, context) : UNLISTED;
    if (stored && request.intent === 'join') this.#fetchBody(device, request, state);
    const previous = tells ? this.#previous(before, state) : undefined;
    const result: WriteReply = {
      outcome: outcome.kind,
      newest: outcome.newest,
      complete: device.completeness.isComplete(key.policy, key.hash),
      listedOn: listed.listedOn,
      ...(listed.refused !== undefined && { refused: listed.refused }),
      ...(previous !== undefined && { previous }),
    };
    return { result };
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
