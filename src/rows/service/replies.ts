/** Replies of peers, checked like everything that comes over the wire. */

import { OperatingError } from '#base/errors.ts';
import type {
  ContainersReply,
  OwnOutcome,
  PullReply,
  RowDigestsReply,
  RowOutcome,
  StateReply,
} from './calls.ts';
import { OWN_OUTCOMES, ROW_OUTCOMES } from './calls.ts';

type Fields = Readonly<Record<string, unknown>>;

export function parsePullReply(result: unknown): PullReply {
  const fields = record(result);
  const rows = list(fields['rows']).map((item) => {
    const row = record(item);
    return { name: text(row['name']), state: bytes(row['state']) };
  });
  return {
    incarnation: text(fields['incarnation']),
    sequence: count(fields['sequence']),
    upTo: count(fields['upTo']),
    complete: fields['complete'] === true,
    equal: fields['equal'] === true,
    more: fields['more'] === true,
    rows,
  };
}

export function parseStateReply(result: unknown): StateReply {
  const fields = record(result);
  const state = fields['state'] === null ? null : bytes(fields['state']);
  const live = fields['live'] === true;
  // Who is of an older version does not tell.
  const rows = typeof fields['rows'] === 'boolean' ? fields['rows'] : live;
  return { state, live, rows, complete: fields['complete'] === true };
}

export function parseOutcomes(
  result: unknown,
  rows: number,
): { outcomes: RowOutcome[]; complete: boolean } {
  const fields = record(result);
  const outcomes = list(fields['outcomes']).map((value) => {
    const outcome = ROW_OUTCOMES.find((known) => known === value);
    if (outcome === undefined) throw malformed();
    return outcome;
  });
  if (outcomes.length !== rows) throw malformed();
  return { outcomes, complete: fields['complete'] === true };
}

/** `container.holdings`: a slot each. */
export function parseHoldings(result: unknown, asked: number): (Buffer | null)[] {
  const slots = list(record(result)['slots']).map((slot) => (slot === null ? null : bytes(slot)));
  if (slots.length !== asked) throw malformed();
  return slots;
}

export function parseOwnReply(result: unknown): { outcome: OwnOutcome; complete: boolean } {
  const fields = record(result);
  const outcome = OWN_OUTCOMES.find((known) => known === fields['outcome']);
  if (outcome === undefined) throw malformed();
  return { outcome, complete: fields['complete'] === true };
}

export function parseDigestsReply(result: unknown): RowDigestsReply {
  const ranges = list(record(result)['ranges']).map((item) => {
    const range = record(item);
    return {
      sum: bytes(range['sum']),
      total: count(range['total']),
      complete: range['complete'] === true,
      claimed: (range['claimed'] ?? range['complete']) === true,
      fence: range['fence'] === undefined ? undefined : count(range['fence']),
    };
  });
  return { ranges };
}

export function parseContainersReply(result: unknown): ContainersReply {
  const fields = record(result);
  const containers = list(fields['containers']).map((item) => {
    const container = record(item);
    const hash = Buffer.from(bytes(container['hash']));
    const complete = container['complete'] === true;
    return { hash, path: text(container['path']), digest: bytes(container['digest']), complete };
  });
  return { containers, more: fields['more'] === true };
}

function record(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed();
  return value as Fields;
}

function list(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw malformed();
  return value as unknown[];
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw malformed();
  return value;
}

function count(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw malformed();
  return value as number;
}

function bytes(value: unknown): Buffer {
  if (!(value instanceof Uint8Array)) throw malformed();
  return Buffer.isBuffer(value) ? value : Buffer.from(value.buffer, value.byteOffset, value.length);
}

function malformed(): OperatingError {
  return new OperatingError('malformed', 'a reply of a row service has another form');
}
