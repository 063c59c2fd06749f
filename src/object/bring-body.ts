/**
 * Fetches the body of a data part that is about to be stored, while somebody waits for it: from the
 * first of the sources that has it. It belongs to the caller, who commits or abandons it.
 *
 * Whom a client waits for takes what it needs. A handover waits for its share of the bandwidth, before all other
 * repair, until its caller gives up.
 */
import { bodyVersion, type DataPart } from '#base/entry.ts';
import { codeOf, OperatingError } from '#base/errors.ts';
import {
  DEFAULT_INLINE_LIMIT,
  type Device,
  type EntryKey,
  type StagedBody,
} from '#device/contract.ts';
import type { BodyReader } from '#wire/contract.ts';
import type { PullerParts } from './body-puller.ts';
import type { ReadArgs, ReadReply, Target } from './calls.ts';

const DEADLINE_MS = 30_000;

/**
 * Undefined: none of them gave it.
 * @param budgeted it is repair, and waits for its share of the bandwidth until this aborts
 */
export async function bringBody(
  parts: PullerParts,
  device: Device,
  key: EntryKey,
  data: DataPart,
  sources: readonly Target[],
  budgeted?: AbortSignal,
): Promise<Buffer | StagedBody | undefined> {
  for (const source of sources) {
    if (source.device === device.id) continue;
    const body = await read(parts, source, device, key, data, budgeted).catch((error: unknown) => {
      const facts = { device: device.id, from: source.node, error: codeOf(error) };
      parts.env.log.debug('object.pull-failed', facts);
      return undefined;
    });
    if (body !== undefined) return body;
  }
  return undefined;
}

async function read(
  { caller, cluster, budget }: PullerParts,
  source: Target,
  device: Device,
  key: EntryKey,
  data: DataPart,
  budgeted: AbortSignal | undefined,
): Promise<Buffer | StagedBody | undefined> {
  if (data.body === undefined) return undefined;
  if (budgeted !== undefined) {
    await budget.receive(source.node, data.body.length, budgeted, 'first');
  }
  const { policy, hash } = key;
  const args: ReadArgs = {
    device: source.device,
    policy,
    hash,
    ringVersion: cluster.current().rings.get(policy)?.version ?? 0,
    range: [0, data.body.length],
    pin: bodyVersion(data),
  };
  const options = { txn: 'pull', deadlineMs: DEADLINE_MS, lane: 'bulk' as const };
  const { result, body } = await caller.call(source.node, 'object.read', args, options);
  if ((result as ReadReply).hasBody !== true || body === undefined) return undefined;
  return taken(device, key, data.body.length, body);
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

function shortBody(): OperatingError {
  return new OperatingError('length-mismatch', 'the pulled body has another length');
}
