/** A row store for the device's own tests: rows in a map, as durable as the test says. */

import { EMPTY_STATE, join } from '#base/entry.ts';
import { encodeState } from '#base/entry-codec.ts';
import type { LogPosition, RowRecord, RowSink } from '../contract.ts';
import { keyText } from '../stored-entry.ts';

export class MemoryRows implements RowSink {
  readonly rows = new Map<string, RowRecord>();
  position: LogPosition | undefined;
  closed = false;

  applied(): LogPosition | undefined {
    return this.position;
  }

  apply(
    rows: readonly { readonly row: RowRecord; readonly position: LogPosition }[],
    upTo: LogPosition,
  ): void {
    for (const { row } of rows) {
      const text = rowText(row);
      const state = join(this.rows.get(text)?.state ?? EMPTY_STATE, row.state);
      this.rows.set(text, { ...row, state });
    }
    this.position = upTo;
  }

  isCurrent(row: RowRecord): boolean {
    const held = this.rows.get(rowText(row));
    return (
      held !== undefined &&
      encodeState(held.state).equals(encodeState(join(held.state, row.state))) &&
      encodeState(row.state).equals(encodeState(held.state))
    );
  }

  checkpoint(): Promise<boolean> {
    return Promise.resolve(true);
  }

  close(): void {
    this.closed = true;
  }
}

function rowText(row: RowRecord): string {
  return `${keyText(row.key)}/${row.name}`;
}
