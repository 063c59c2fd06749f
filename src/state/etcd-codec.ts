/**
 * State's forms and those of etcd's JSON gateway: keys and values are base64, 64-bit numbers are
 * strings, and what has its zero value is left out. Answers are checked before they are believed.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { boundsOf, rangeLimit } from './limits.ts';
import type {
  Compare,
  KeyRange,
  KeyValue,
  Operation,
  OperationResult,
  RangeOptions,
  WatchEvent,
} from './state.ts';

/** As a range's end: to the end of the store. As a start: from its beginning. */
const OPEN = Buffer.from([0]);

const int = z
  .union([z.string().regex(/^-?\d{1,19}$/), z.number()])
  .default('0')
  .transform(Number)
  .refine(Number.isSafeInteger);
const bytes = z
  .string()
  .default('')
  .transform((text) => Buffer.from(text, 'base64'));
const header = z.object({ revision: int });
/** Lease ids are 64-bit and stay text. */
const lease = z.union([z.string(), z.number()]).transform(String).optional();
const pair = z.object({
  key: bytes,
  value: bytes,
  create_revision: int,
  mod_revision: int,
  version: int,
  lease,
});
const rangeAnswer = z.object({ kvs: z.array(pair).default([]), more: z.boolean().default(false) });

export const rangeResponse = rangeAnswer.extend({ header });
export const txnResponse = z.object({
  header,
  succeeded: z.boolean().default(false),
  responses: z
    .array(
      z.union([
        z.object({ response_put: z.unknown().refine((value) => value !== undefined) }),
        z.object({ response_delete_range: z.object({ deleted: int }) }),
        z.object({ response_range: rangeAnswer }),
      ]),
    )
    .default([]),
});
export const leaseResponse = z.object({ ID: z.union([z.string(), z.number()]).transform(String) });
export const keepAliveResponse = z.object({ result: z.object({ TTL: int }) });
export const watchResponse = z.object({
  result: z.object({
    header: header.optional(),
    created: z.boolean().default(false),
    canceled: z.boolean().default(false),
    cancel_reason: z.string().default(''),
    compact_revision: int,
    events: z
      .array(z.object({ type: z.enum(['PUT', 'DELETE']).default('PUT'), kv: pair }))
      .default([]),
  }),
});

/** @throws OperatingError `state-unavailable` */
export function checked<Fields>(schema: z.ZodType<Fields>, answer: unknown): Fields {
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new OperatingError('state-unavailable', 'etcd gave an answer of an unknown form');
}

export function encodeRange(range: KeyRange, options?: RangeOptions): Record<string, unknown> {
  const { start, end = OPEN } = boundsOf(range);
  return {
    key: text(start.length === 0 ? OPEN : start),
    range_end: text(end),
    limit: String(rangeLimit(options)),
    sort_target: 'KEY',
    sort_order: options?.reverse ? 'DESCEND' : 'ASCEND',
  };
}

export function encodeBounds(range: KeyRange): { key: string; range_end: string } {
  const { start, end = OPEN } = boundsOf(range);
  return { key: text(start.length === 0 ? OPEN : start), range_end: text(end) };
}

export function encodeCompare(compare: Compare): Record<string, unknown> {
  const key = text(Buffer.from(compare.key));
  if ('exists' in compare) {
    const result = compare.exists ? 'GREATER' : 'EQUAL';
    return { key, target: 'CREATE', result, create_revision: '0' };
  }
  if ('modRevision' in compare) {
    return { key, target: 'MOD', result: 'EQUAL', mod_revision: String(compare.modRevision) };
  }
  if ('createRevision' in compare) {
    const create_revision = String(compare.createRevision);
    return { key, target: 'CREATE', result: 'EQUAL', create_revision };
  }
  return { key, target: 'VALUE', result: 'EQUAL', value: text(compare.value) };
}

export function encodeOperation(operation: Operation): Record<string, unknown> {
  switch (operation.kind) {
    case 'put': {
      const { key, value, lease: id } = operation;
      const put = { key: text(Buffer.from(key)), value: text(value) };
      return { request_put: { ...put, ...(id !== undefined && { lease: id }) } };
    }
    case 'delete':
      return { request_delete_range: { key: text(Buffer.from(operation.key)) } };
    case 'deleteRange':
      return { request_delete_range: encodeBounds(operation.range) };
    case 'range':
      return { request_range: encodeRange(operation.range, operation.options) };
  }
}

export function decodeResult(
  operation: Operation,
  answer: z.output<typeof txnResponse>['responses'][number] | undefined,
): OperationResult {
  if (answer !== undefined && 'response_range' in answer) {
    const { kvs, more } = answer.response_range;
    return { kind: 'range', items: kvs.map(decodePair), more };
  }
  if (answer !== undefined && 'response_delete_range' in answer) {
    return { kind: 'delete', deleted: answer.response_delete_range.deleted };
  }
  if (operation.kind === 'put') return { kind: 'put' };
  throw new OperatingError('state-unavailable', 'etcd left out a result');
}

export function decodePair(kv: z.output<typeof pair>): KeyValue {
  return {
    key: kv.key.toString(),
    value: kv.value,
    createRevision: kv.create_revision,
    modRevision: kv.mod_revision,
    version: kv.version,
    ...(kv.lease !== undefined && kv.lease !== '0' && { lease: kv.lease }),
  };
}

export function decodeEvent(
  event: z.output<typeof watchResponse>['result']['events'][number],
): WatchEvent {
  const { kv } = event;
  if (event.type === 'PUT') return { kind: 'put', item: decodePair(kv) };
  return { kind: 'delete', key: kv.key.toString(), modRevision: kv.mod_revision };
}

function text(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64');
}
