/**
 * Fetches bodies that this node's devices should have and don't: after read-repair of a large object,
 * after damage, after a rejoin. A simple pull from a replica that has exactly the version wanted.
 * Best effort: what is dropped here (full queue, nobody has it) the next scan finds again.
 */
import { BoundedQueue } from '#base/bounded-queue.ts';
import { bodyVersion, type DataPart } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type Entry,
  type EntryKey,
  type StagedBody,
} from '#device/contract.ts';
import type { Env } from '#env/env.ts';
import type { ClusterSource } from '#ring/cluster.ts';
import type { BodyReader, Caller } from '#wire/contract.ts';
import type { ReadArgs, ReadReply, Target } from './calls.ts';
import type { Devices } from './guard.ts';
import { objectTargets } from './targets.ts';

export interface PullRequest extends EntryKey {
  readonly device: number;
  /** Replicas believed to have the body; else the primaries are asked in turn. */
  readonly sources?: readonly Target[];
}

const MAX_WAITING = 10_000;
const MAX_CONCURRENT = 4;
const DEADLINE_MS = 30_000;

export class BodyPuller {
  readonly #env: Env;
  readonly #caller: Caller;
  readonly #cluster: ClusterSource;
  readonly #devices: Devices;
  readonly #waiting = new BoundedQueue<PullRequest>(MAX_WAITING);
  /** Keys that are waiting or under way: many readers may report the same damage. */
  readonly #known = new Set<string>();
  #active = 0;
  #pulled = 0;
  #closed = false;

  constructor(env: Env, caller: Caller, cluster: ClusterSource, devices: Devices) {
    this.#env = env;
    this.#caller = caller;
    this.#cluster = cluster;
    this.#devices = devices;
  }

  /** False: already known, or the queue is full. */
  enqueue(request: PullRequest): boolean {
    const known = keyText(request);
    if (this.#closed || this.#known.has(known) || !this.#waiting.push(request)) return false;
    this.#known.add(known);
    this.#pump();
    return true;
  }

  get waiting(): number {
    return this.#waiting.length + this.#active;
  }

  get pulled(): number {
    return this.#pulled;
  }

  close(): void {
    this.#closed = true;
    this.#waiting.clear();
  }

  #pump(): void {
    while (this.#active < MAX_CONCURRENT) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      this.#active++;
      void this.#pull(request).finally(() => {
        this.#active--;
        this.#known.delete(keyText(request));
        this.#pump();
      });
    }
  }

  async #pull(request: PullRequest): Promise<void> {
    const device = this.#devices().get(request.device);
    const entry = device?.stat(request);
    if (device === undefined || entry === undefined || !wantsBody(entry)) return;
    const sources = request.sources ?? objectTargets(this.#cluster.current(), request);
    for (const source of sources) {
      if (source.device === device.id || this.#closed) continue;
      try {
        if (!(await this.#pullFrom(source, device, entry))) continue;
        this.#pulled++;
        return;
      } catch (error) {
        const facts = { device: device.id, path: entry.path, from: source.node };
        this.#env.log.debug('object.pull-failed', { ...facts, error: codeOf(error) });
      }
    }
    this.#env.log.warn('object.body-missing', { device: device.id, path: entry.path });
  }

  async #pullFrom(source: Target, device: Device, entry: Entry): Promise<boolean> {
    const { key, path, unlisted } = entry;
    const { data } = entry.state;
    if (data === undefined) return false;
    const body = await this.#read(source, device, key, data);
    if (body === undefined) return false;
    const write = { key, path, state: { data, groups: {} }, body, unlisted };
    await committed(body, () => device.write({ ...write, intent: 'join' }));
    this.#env.log.info('object.body-pulled', { device: device.id, path });
    return true;
  }

  /**
   * The body of exactly this data part, from whichever of the sources has it; it belongs to the caller,
   * who commits or abandons it. Undefined: none of them gave it.
   */
  async bring(
    device: Device,
    key: EntryKey,
    data: DataPart,
    sources: readonly Target[],
  ): Promise<Buffer | StagedBody | undefined> {
    for (const source of sources) {
      if (source.device === device.id) continue;
      const body = await this.#read(source, device, key, data).catch((error: unknown) => {
        const facts = { device: device.id, from: source.node, error: codeOf(error) };
        this.#env.log.debug('object.pull-failed', facts);
        return undefined;
      });
      if (body !== undefined) return body;
    }
    return undefined;
  }

  async #read(
    source: Target,
    device: Device,
    key: EntryKey,
    data: DataPart,
  ): Promise<Buffer | StagedBody | undefined> {
    if (data.body === undefined) return undefined;
    const { policy, hash } = key;
    const args: ReadArgs = {
      device: source.device,
      policy,
      hash,
      ringVersion: this.#cluster.current().rings.get(policy)?.version ?? 0,
      range: [0, data.body.length],
      pin: bodyVersion(data),
    };
    const options = { txn: 'pull', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
    const { result, body } = await this.#caller.call(source.node, 'object.read', args, options);
    if ((result as ReadReply).hasBody !== true || body === undefined) return undefined;
    return taken(device, key, data.body.length, body);
  }
}

async function taken(
  device: Device,
  key: EntryKey,
  length: number,
  source: BodyReader,
): Promise<Buffer | StagedBody> {
  if (length <= DEFAULT_INLINE_LIMIT) {
    const chunks: Buffer[] = [];
    for await (const chunk of source) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    if (body.length !== length) throw shortBody();
    return body;
  }
  const body = await device.stage(key);
  return committed(body, async () => {
    for await (const chunk of source) await body.write(chunk);
    await body.finish();
    if (body.length !== length) throw shortBody();
    return body;
  });
}

/** What fails leaves no stage behind. */
export async function committed<Result>(
  body: Buffer | StagedBody,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!Buffer.isBuffer(body)) await body.abandon();
    throw error;
  }
}

export function wantsBody(entry: Entry): boolean {
  const { data } = entry.state;
  return !entry.hasBody && data?.kind === 'live' && (data.body?.length ?? 0) > 0;
}

function shortBody(): OperatingError {
  return new OperatingError('length-mismatch', 'the pulled body has another length');
}

function keyText({ device, policy, hash }: PullRequest): string {
  return `${device}/${policy}/${hash.toString('hex')}`;
}
