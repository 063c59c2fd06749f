/** Query parameters. Where a name comes twice the last one counts, as in Swift. */

import { percentDecode } from '../http/utf8.ts';
import { refuse } from './errors.ts';

const TRUE_VALUES = new Set(['true', '1', 'yes', 'on', 't', 'y']);
const FALSE_VALUES = new Set(['false', '0', 'no', 'off', 'f', 'n']);

export class Query {
  readonly #values: ReadonlyMap<string, string> | undefined;

  constructor(raw: string) {
    this.#values = raw === '' ? undefined : parse(raw);
  }

  get(name: string): string | undefined {
    const raw = this.#values?.get(name);
    if (raw === undefined || raw === '') return raw;
    const value = percentDecode(raw);
    if (value === undefined) throw refuse('bad-request', `"${name}" parameter not valid UTF-8`);
    return value;
  }

  has(name: string): boolean {
    return this.#values?.has(name) ?? false;
  }

  isTrue(name: string): boolean {
    return isTrue(this.get(name));
  }
}

/** What Swift takes for "yes" in headers and parameters. */
export function isTrue(text: string | undefined): boolean {
  return text !== undefined && TRUE_VALUES.has(text.trim().toLowerCase());
}

/** And for "no", where anything else is a mistake. */
export function isFalse(text: string): boolean {
  return FALSE_VALUES.has(text.trim().toLowerCase());
}

function parse(raw: string): Map<string, string> {
  const values = new Map<string, string>();
  for (const pair of raw.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = equals < 0 ? pair : pair.slice(0, equals);
    const value = equals < 0 ? '' : pair.slice(equals + 1).replaceAll('+', ' ');
    values.set(percentDecode(name) ?? name, value);
  }
  return values;
}
