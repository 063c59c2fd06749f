/**
 * The rows of a container one after the other, page by page, with jumps ahead. Behind a leap pages begin
 * small: the next one, past another folder of thousands of rows, is probably one row away.
 */
import type { ContainerName } from '#base/names.ts';
import type { ListedObject, Operation, Store } from './contract.ts';

const FIRST_ROWS = 4;
const GROWTH = 4;

export class RowCursor {
  readonly #store: Store;
  readonly #operation: Operation;
  readonly #container: ContainerName;
  readonly #prefix: string;
  readonly #pageRows: number;
  #nextRows: number;
  #rows: ListedObject[] = [];
  #at = 0;
  #marker: string | undefined;
  #isLast = false;
  #skips: ((name: string) => boolean) | undefined;

  constructor(
    store: Store,
    operation: Operation,
    container: ContainerName,
    prefix: string,
    pageRows: number,
  ) {
    this.#store = store;
    this.#operation = operation;
    this.#container = container;
    this.#prefix = prefix;
    this.#pageRows = pageRows;
    this.#nextRows = pageRows;
  }

  /** Undefined: no more rows. */
  async head(): Promise<ListedObject | undefined> {
    for (;;) {
      const row = this.#rows[this.#at];
      if (row === undefined) {
        if (this.#isLast) return undefined;
        await this.#read();
      } else if (this.#skips?.(row.name) === true) this.#at += 1;
      else return row;
    }
  }

  next(): void {
    this.#at += 1;
  }

  /** To the first row behind this name. */
  seek(name: string): void {
    while (this.#at < this.#rows.length && compare(this.#rows[this.#at]!.name, name) <= 0) {
      this.#at += 1;
    }
    if (this.#at < this.#rows.length) return;
    if (this.#marker === undefined || compare(this.#marker, name) < 0) this.#marker = name;
  }

  /** The same, past what may be many rows, to do so again soon. */
  leap(name: string): void {
    this.seek(name);
    this.#nextRows = Math.min(this.#pageRows, FIRST_ROWS);
  }

  /** Passes over rows ahead for as long as they are such. */
  skipWhile(isSkipped: (name: string) => boolean): void {
    this.#skips = isSkipped;
  }

  async #read(): Promise<void> {
    const page = await this.#store.listObjects(this.#operation, this.#container, {
      limit: this.#nextRows,
      ...(this.#prefix !== '' && { prefix: this.#prefix }),
      ...(this.#marker !== undefined && { marker: this.#marker }),
    });
    this.#rows = (page?.items ?? []).filter((item) => !('prefix' in item)) as ListedObject[];
    this.#at = 0;
    this.#nextRows = Math.min(this.#pageRows, this.#nextRows * GROWTH);
    this.#marker = this.#rows.at(-1)?.name ?? this.#marker;
    this.#isLast = page?.truncated !== true;
  }
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
