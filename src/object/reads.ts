/**
 * object.stat and object.read. A replica tells its state as it is (also an expired or deleted one);
 * what a client may see of it is decided by the reader, who has heard a majority.
 */
import { bodyLength, bodyVersion, wantsBody } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import { OperatingError } from '#base/errors.ts';
import type { ByteRange, Device, Entry } from '#device/contract.ts';
import type { Clock } from '#env/env.ts';
import type { Reply } from '#wire/contract.ts';
import { parseRead, parseStat } from './args.ts';
import { bodiesCall } from './body-batch.ts';
import type { BodyPuller } from './body-puller.ts';
import type { ReadArgs, ReadReply, StatReply } from './calls.ts';
import type { Guard } from './guard.ts';
import { versionKey } from './version.ts';

const MAX_INLINE = 1024 * 1024;

export class Reads {
  readonly #guard: Guard;
  readonly #puller: BodyPuller;
  readonly #clock: Clock;

  constructor(guard: Guard, puller: BodyPuller, clock: Clock) {
    this.#clock = clock;
    this.#guard = guard;
    this.#puller = puller;
  }

  readonly stat = (args: unknown): Reply => {
    const request = parseStat(args);
    const device = this.#guard.device(request);
    const entry = device.stat(request);
    const complete = device.completeness.isComplete(request.policy, request.hash);
    const certain = device.isCertain(request);
    return { result: statReply(entry, { complete, certain, brief: request.brief === true }) };
  };

  readonly read = async (args: unknown): Promise<Reply> => {
    const request = parseRead(args);
    const device = this.#guard.device(request);
    const entry = device.stat(request);
    const complete = device.completeness.isComplete(request.policy, request.hash);
    const certain = device.isCertain(request);
    const reply = statReply(entry, { complete, certain, brief: false });
    if (entry === undefined || !reply.hasBody) return { result: reply };
    if (!isPinned(entry, request)) return { result: { ...reply, hasBody: false } };
    if (request.range !== undefined) return this.#stream(device, entry, request, reply);
    const inline = await this.#inline(device, entry, request);
    if (inline === 'damaged') return { result: { ...reply, hasBody: false } };
    return { result: inline === undefined ? reply : ({ ...reply, inline } satisfies ReadReply) };
  };

  readonly bodies = (args: unknown): Promise<Reply> =>
    bodiesCall(this.#guard, this.#clock, args, (device, entry) => this.#damaged(device, entry));

  #stream(device: Device, entry: Entry, request: ReadArgs, reply: StatReply): Reply {
    const [start, end] = request.range!;
    const length = entry.state.data?.body?.length ?? 0;
    if (end > length) throw new OperatingError('malformed', 'range beyond the body', { length });
    return { result: reply, body: this.#bytes(device, entry, { start, end }) };
  }

  async *#bytes(device: Device, entry: Entry, range: ByteRange): AsyncGenerator<Buffer> {
    try {
      yield* device.read(entry, range);
    } catch (error) {
      this.#damaged(device, entry);
      throw error;
    }
  }

  /** Small bodies come along with the state. A damaged one is "I know t, no body": the reader goes elsewhere. */
  async #inline(
    device: Device,
    entry: Entry,
    request: ReadArgs,
  ): Promise<Buffer | 'damaged' | undefined> {
    const length = bodyLength(entry.state);
    if (!wantsBody(entry.state) || length > Math.min(request.inlineUpTo ?? 0, MAX_INLINE)) {
      return undefined;
    }
    try {
      return device.readSmall(entry) ?? (await collect(device, entry, length));
    } catch {
      this.#damaged(device, entry);
      return 'damaged';
    }
  }

  /** The device has quarantined it; a good copy is fetched at once from another replica. */
  #damaged(device: Device, entry: Entry): void {
    if (device.stat(entry.key)?.hasBody === true) return;
    const { policy, hash } = entry.key;
    this.#puller.enqueue({ device: device.id, policy, hash });
  }
}

function statReply(
  entry: Entry | undefined,
  { brief, ...told }: Pick<StatReply, 'complete' | 'certain'> & { readonly brief: boolean },
): StatReply {
  if (entry === undefined) return { state: null, version: '', hasBody: false, ...told };
  return {
    state: brief ? null : encodeState(entry.state),
    version: versionKey(entry.state),
    hasBody: entry.hasBody,
    ...told,
  };
}

function isPinned({ state: { data } }: Entry, { pin }: ReadArgs): boolean {
  return pin === undefined || (data !== undefined && bodyVersion(data) === pin);
}

async function collect(device: Device, entry: Entry, length: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of device.read(entry, { start: 0, end: length })) chunks.push(chunk);
  return Buffer.concat(chunks);
}
