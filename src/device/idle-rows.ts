/** A row store that lacks nothing: for opening a device whose rows are to be left alone. */
import type { LogPosition, RowPage, RowSink, RowStanding } from './contract.ts';

export class IdleRows implements RowSink {
  #applied: LogPosition = { segment: Number.MAX_SAFE_INTEGER, offset: 0 };

  applied(): LogPosition {
    return this.#applied;
  }

  apply(_rows: unknown, upTo: LogPosition): void {
    this.#applied = upTo;
  }

  /** Nothing is dropped or moved on its word. */
  standing(): RowStanding {
    return 'undecided';
  }

  noSegments(): void {
    // nothing is remembered of what was forgotten
  }

  readonly rowCount = 0;

  rowsAfter(): RowPage {
    return { rows: [], next: undefined };
  }

  audit(): Promise<{ rows: number; next: undefined }> {
    return Promise.resolve({ rows: 0, next: undefined });
  }

  checkpoint(): Promise<boolean> {
    return Promise.resolve(true);
  }

  condemn(): void {
    // there is nothing to make anew
  }

  close(): void {
    // there is nothing to close
  }
}
