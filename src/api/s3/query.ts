/** Query parameters. Names are case-sensitive; of a name that comes twice the first one counts. */
import { queryPairs } from '#auth/sigv4-claim.ts';
import { utf8FromLatin1 } from '../http/utf8.ts';
import { refuse } from './errors.ts';

export class Query {
  readonly #values = new Map<string, string>();

  /** `target`: path and query as they came. */
  constructor(target: string) {
    for (const [name, value] of queryPairs(target)) {
      if (!this.#values.has(name)) this.#values.set(name, value);
    }
  }

  get isEmpty(): boolean {
    return this.#values.size === 0;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  names(): IterableIterator<string> {
    return this.#values.keys();
  }

  /** Names and values, one character per byte. */
  pairs(): MapIterator<[string, string]> {
    return this.#values.entries();
  }

  /** @throws S3Error InvalidArgument for what is not UTF-8 or holds a zero byte */
  get(name: string): string | undefined {
    const raw = this.#values.get(name);
    if (raw === undefined) return undefined;
    const value = utf8FromLatin1(raw);
    if (value === undefined || value.includes('\0')) {
      throw refuse('InvalidArgument', `The ${name} parameter is not valid UTF-8.`, {
        ArgumentName: name,
      });
    }
    return value;
  }

  /** A number of at most `most`, larger ones cut to it. @throws S3Error InvalidArgument */
  count(name: string, most: number): number {
    const text = this.get(name);
    if (text === undefined || text === '') return most;
    const number = /^-?\d{1,19}$/.test(text) ? Number(text) : Number.NaN;
    const fields = { ArgumentName: name, ArgumentValue: text };
    if (Number.isNaN(number)) {
      throw refuse(
        'InvalidArgument',
        `Provided ${name} not an integer or within integer range`,
        fields,
      );
    }
    if (number < 0 || number > 0x7fff_ffff) {
      const range = 'must be an integer between 0 and 2147483647';
      throw refuse('InvalidArgument', `Argument ${name} ${range}`, fields);
    }
    return Math.min(number, most);
  }
}
