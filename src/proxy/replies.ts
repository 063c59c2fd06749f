/**
 * Checks replies before anything counts on them. They come from members of the cluster, but one of
 * another version, or with a bug, must fail the one call and nothing else.
 */
import { OperatingError } from '#base/errors.ts';
import { parseTimestamp } from '#base/timestamp.ts';
import type { ListReply } from '#container/calls.ts';
import type { PromiseReply, StageReply } from '#object/calls.ts';
import type { FullReply } from './quorum-read.ts';
import type { RoundReply } from './write-round.ts';

type Fields = Readonly<Record<string, unknown>>;

export function asRoundReply(result: unknown): RoundReply {
  const fields = record(result);
  const { outcome, newest, complete, listedOn } = fields;
  const valid =
    typeof outcome === 'string' && typeof complete === 'boolean' && Array.isArray(listedOn);
  if (!valid) throw malformed('write');
  parseTimestamp(newest);
  return fields as unknown as RoundReply;
}

export function asPromiseReply(result: unknown): PromiseReply {
  const fields = record(result);
  const { outcome, newest, state, hasBody, complete, certain } = fields;
  const valid =
    (outcome === 'promised' || outcome === 'refused') &&
    (state === null || Buffer.isBuffer(state)) &&
    [hasBody, complete, certain].every((flag) => typeof flag === 'boolean');
  if (!valid) throw malformed('promise');
  parseTimestamp(newest);
  return fields as unknown as PromiseReply;
}

export function asFullReply(result: unknown): FullReply {
  const fields = record(result);
  const { state, version, complete, hasBody, certain, inline } = fields;
  const valid =
    (state === null || Buffer.isBuffer(state)) &&
    typeof version === 'string' &&
    typeof complete === 'boolean' &&
    typeof hasBody === 'boolean' &&
    typeof certain === 'boolean' &&
    (inline === undefined || inline === null || Buffer.isBuffer(inline));
  if (!valid) throw malformed('read');
  return fields as unknown as FullReply;
}

export function asStageReply(result: unknown): StageReply {
  const fields = record(result);
  const { stage, complete, newest } = fields;
  if (typeof stage !== 'string' || typeof complete !== 'boolean') throw malformed('stage');
  parseTimestamp(newest);
  return fields as unknown as StageReply;
}

export function asListReply(result: unknown): ListReply {
  const fields = record(result);
  const { state, complete, totals, items } = fields;
  const { rows, bytes, objects } = record(totals);
  const valid =
    (state === null || Buffer.isBuffer(state)) &&
    typeof complete === 'boolean' &&
    Array.isArray(items) &&
    [rows, bytes, objects].every(Number.isFinite);
  if (!valid) throw malformed('list');
  return fields as unknown as ListReply;
}

function record(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw malformed('map');
  return value as Fields;
}

function malformed(what: string): OperatingError {
  return new OperatingError('malformed', `malformed reply: ${what}`);
}
