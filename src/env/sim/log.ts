/** The logs of all machines in one ring buffer, to be printed when a run fails. */
import type { Log } from '../env.ts';

export interface LogLine {
  readonly timeMs: number;
  readonly machine: string;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly event: string;
  readonly facts: Record<string, unknown>;
}

const KEPT_LINES = 5000;

export class LogBook {
  readonly #lines: LogLine[] = [];
  #count = 0;

  add(line: LogLine): void {
    this.#lines[this.#count++ % KEPT_LINES] = line;
  }

  /** The last lines, oldest first. */
  lines(count = KEPT_LINES): LogLine[] {
    const available = Math.min(count, this.#count, KEPT_LINES);
    const at = (i: number): LogLine => this.#lines[(this.#count - available + i) % KEPT_LINES]!;
    return Array.from({ length: available }, (_, i) => at(i));
  }

  format(count = 100): string {
    return this.lines(count).map(formatLine).join('\n');
  }
}

export class SimLog implements Log {
  readonly #book: LogBook;
  readonly #machine: string;
  readonly #nowMs: () => number;
  readonly #facts: Record<string, unknown>;

  constructor(
    book: LogBook,
    machine: string,
    nowMs: () => number,
    facts: Record<string, unknown> = {},
  ) {
    this.#book = book;
    this.#machine = machine;
    this.#nowMs = nowMs;
    this.#facts = facts;
  }

  debug(event: string, facts?: Record<string, unknown>): void {
    this.#add('debug', event, facts);
  }
  info(event: string, facts?: Record<string, unknown>): void {
    this.#add('info', event, facts);
  }
  warn(event: string, facts?: Record<string, unknown>): void {
    this.#add('warn', event, facts);
  }
  error(event: string, facts?: Record<string, unknown>): void {
    this.#add('error', event, facts);
  }

  with(facts: Record<string, unknown>): Log {
    return new SimLog(this.#book, this.#machine, this.#nowMs, { ...this.#facts, ...facts });
  }

  #add(level: LogLine['level'], event: string, facts?: Record<string, unknown>): void {
    const all = { ...this.#facts, ...facts };
    this.#book.add({ timeMs: this.#nowMs(), machine: this.#machine, level, event, facts: all });
  }
}

function formatLine(line: LogLine): string {
  const time = line.timeMs.toFixed(3).padStart(12);
  const facts = JSON.stringify(line.facts, (_, value: unknown) => {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    return typeof value === 'bigint' ? String(value) : value;
  });
  return `${time} ${line.machine} ${line.level} ${line.event} ${facts}`;
}
