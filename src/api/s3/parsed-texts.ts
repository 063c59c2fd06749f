/**
 * Configurations by their text, parsed once: a bucket is looked up for every request, its texts change
 * seldom, and the same text means the same in every bucket.
 */
const MAX_PARSED = 1000;

export class ParsedTexts<Value> {
  readonly #parse: (text: string) => Value;
  readonly #parsed = new Map<string, Value>();

  constructor(parse: (text: string) => Value) {
    this.#parse = parse;
  }

  of(text: string): Value {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const parsed = this.#parse(text);
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(text, parsed);
    return parsed;
  }
}
