/**
 * object.bodies: many small bodies in one message. A call for each cost more than the bodies: 5,000
 * objects of 64 KiB took 5,000 round trips and as many commits; now it is 64 of each at a time, and one
 * sync for all of them.
 *
 * The reply's body is the wanted bodies one after the other; `lengths` says how long each is, NONE for
 * one that this replica has not (in exactly that version, undamaged), LATER for what would have made
 * the message too long.
 */
import { bodyVersion, wantsBody } from '#base/entry.ts';
import { OperatingError } from '#base/errors.ts';
import { DEFAULT_INLINE_LIMIT, type Device, type Entry } from '#device/contract.ts';
import type { Clock } from '#env/env.ts';
import type { BodyReader, Reply } from '#wire/contract.ts';
import { parseBodies } from './args.ts';
import type { Pull, PullerParts } from './body-puller.ts';
import type { BodiesArgs, BodiesReply, BodyWish, Target } from './calls.ts';
import type { Guard } from './guard.ts';

export const MAX_BATCH_BODIES = 64;
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Read in one turn: clients of the source waited 16 ms for a whole message. */
const AT_ONCE = 16;
const DEADLINE_MS = 30_000;
const NONE = -1;
const LATER = -2;

/**
 * Asks one source for the bodies and stores those that come; `got` is called for each. Gives for how long
 * this node was at work, waiting for its turn and for the source left out.
 * @throws WireError; the device's errors
 */
export async function fetchBodies(
  { env, caller, cluster, budget }: PullerParts,
  source: Target,
  pulls: readonly Pull[],
  got: (pull: Pull) => void,
  signal: AbortSignal,
): Promise<number> {
  const { policy } = pulls[0]!.request;
  const ringVersion = cluster.current().rings.get(policy)?.version ?? 0;
  await budget.receive(source.node, total(pulls), signal);
  const wishes = pulls.map(
    ({ entry: { key, state } }): BodyWish => ({ hash: key.hash, pin: bodyVersion(state.data!) }),
  );
  const args: BodiesArgs = { device: source.device, policy, ringVersion, wishes };
  const options = { txn: 'pull', deadlineMs: DEADLINE_MS, lane: 'bulk' as const, signal };
  const { result, body } = await caller.call(source.node, 'object.bodies', args, options);
  const arrivedMs = env.clock.monotonicMs();
  const lengths = (result as BodiesReply | null)?.lengths;
  if (body !== undefined && Array.isArray(lengths)) await storeAll(pulls, lengths, body, got);
  return env.clock.monotonicMs() - arrivedMs;
}

async function storeAll(
  pulls: readonly Pull[],
  lengths: readonly unknown[],
  source: BodyReader,
  got: (pull: Pull) => void,
): Promise<void> {
  const pieces = new Pieces(source);
  const writes: Promise<void>[] = [];
  try {
    for (const [i, pull] of pulls.entries()) {
      if (lengths[i] === NONE || lengths[i] === LATER) continue;
      if (lengths[i] !== pull.length) throw new OperatingError('malformed', 'another length');
      const body = await pieces.take(pull.length);
      const write = store(pull, body).then(() => got(pull));
      write.catch(() => undefined); // awaited below, whatever comes first
      writes.push(write);
    }
  } finally {
    pieces.cancel();
    await Promise.all(writes);
  }
}

async function store({ device, entry }: Pull, body: Buffer): Promise<void> {
  const { key, path, unlisted, state } = entry;
  await device.write({ key, path, state, body, unlisted, intent: 'join' });
}

/** Cuts a stream into pieces of known lengths. */
class Pieces {
  readonly #reader: BodyReader;
  readonly #iterator: AsyncIterator<Buffer>;
  #chunk: Buffer = Buffer.alloc(0);

  constructor(reader: BodyReader) {
    this.#reader = reader;
    this.#iterator = reader[Symbol.asyncIterator]();
  }

  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let missing = length; missing > 0; ) {
      if (this.#chunk.length === 0) await this.#next();
      const part = this.#chunk.subarray(0, missing);
      this.#chunk = this.#chunk.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  cancel(): void {
    this.#reader.cancel();
  }

  async #next(): Promise<void> {
    const { value, done } = await this.#iterator.next();
    if (done === true) throw new OperatingError('length-mismatch', 'the bodies ended too early');
    this.#chunk = value;
  }
}

/** The other side. `damaged` hears of a body that can't be read. */
export async function bodiesCall(
  guard: Guard,
  clock: Clock,
  args: unknown,
  damaged: (device: Device, entry: Entry) => void,
): Promise<Reply> {
  const request = parseBodies(args);
  const device = guard.device(request);
  const bodies: Buffer[] = [];
  const lengths: number[] = [];
  let bytes = 0;
  for (const [i, wish] of request.wishes.entries()) {
    if (i > 0 && i % AT_ONCE === 0) await clock.sleep(0);
    const entry = wanted(device, request.policy, wish);
    const length = entry?.state.data?.body?.length ?? 0;
    if (entry === undefined || length > DEFAULT_INLINE_LIMIT) lengths.push(NONE);
    else if (bytes > 0 && bytes + length > MAX_BATCH_BYTES) lengths.push(LATER);
    else {
      const body = await readWhole(device, entry, length).catch(() => undefined);
      if (body === undefined) damaged(device, entry);
      else bodies.push(body);
      lengths.push(body?.length ?? NONE);
      bytes += body?.length ?? 0;
    }
  }
  return { result: { lengths } satisfies BodiesReply, body: stream(bodies) };
}

function wanted(device: Device, policy: number, wish: BodyWish): Entry | undefined {
  const entry = device.stat({ policy, hash: wish.hash });
  const data = entry?.state.data;
  if (data === undefined || !entry?.hasBody || !wantsBody(entry.state)) return undefined;
  return bodyVersion(data) === wish.pin ? entry : undefined;
}

async function readWhole(device: Device, entry: Entry, length: number): Promise<Buffer> {
  const small = device.readSmall(entry);
  if (small !== undefined) return small;
  const chunks: Buffer[] = [];
  for await (const chunk of device.read(entry, { start: 0, end: length })) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* stream(bodies: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* bodies;
}

function total(pulls: readonly Pull[]): number {
  return pulls.reduce((sum, { length }) => sum + length, 0);
}
