/**
 * What clients add to a record that identity has no use for, as Keystone keeps it: JSON text of one
 * object, given back as it came.
 */
import { badRequest } from './context.ts';
import { MAX_EXTRA_CHARS } from './records.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Undefined: there is nothing. @throws OperatingError `bad-request` for more than a record holds */
export function encodeExtra(fields: Fields): string | undefined {
  if (Object.keys(fields).length === 0) return undefined;
  const text = JSON.stringify(fields);
  if (text.length <= MAX_EXTRA_CHARS) return text;
  throw badRequest(`Further fields take more than ${MAX_EXTRA_CHARS} characters.`);
}

export function decodeExtra(extra: string | undefined): Record<string, unknown> {
  return extra === undefined ? {} : (JSON.parse(extra) as Record<string, unknown>);
}

/** A change names the fields that it sets; the others stay. @throws OperatingError `bad-request` */
export function mergeExtra(
  stored: string | undefined,
  change: string | undefined,
): string | undefined {
  if (change === undefined) return stored;
  return encodeExtra({ ...decodeExtra(stored), ...decodeExtra(change) });
}
