/**
 * One node process under the supervisor: started, watched, started again when it dies.
 *
 * The first restart is immediate (clients that retry within two seconds must succeed); a process that
 * keeps dying right after its start is started again more and more slowly, and says so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';

/** Killed by hand again and again is no crash loop: what lived this long is started again at once. */
const STABLE_MS = 1_000;
const BACKOFF_MS = [0, 200, 1000, 3000, 10_000];

export interface NodeProcessOptions {
  readonly name: string;
  readonly args: readonly string[];
  readonly logFile: string;
  /** Tells a person; one line. */
  readonly report: (line: string) => void;
  /** The process has a (new) pid, or none. */
  readonly onChange: () => void;
}

export class NodeProcess {
  readonly name: string;
  readonly #options: NodeProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  /** Served once: from then on it is started again when it ends; before, its end is a failed start. */
  #served = false;
  #failures = 0;
  #startedAt = 0;
  #ready: Promise<void> | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: NodeProcessOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the process says that it serves; rejects when it ends before. */
  start(): Promise<void> {
    const log = openSync(this.#options.logFile, 'a');
    const child = spawn(process.execPath, this.#options.args, {
      stdio: ['ignore', log, log, 'ipc'],
      // Its own group: Ctrl-C reaches the supervisor only, which then stops the nodes in order.
      detached: true,
    });
    this.#child = child;
    this.#startedAt = performance.now();
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()));
    this.#ready = waitForReady(child);
    this.#ready.then(() => (this.#served = true)).catch(() => undefined);
    child.once('exit', (code, signal) => this.#onExit(code, signal));
    this.#options.onChange();
    return this.#ready;
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await this.#exited;
    clearTimeout(timer);
  }

  #onExit(code: number | null, signal: NodeJS.Signals | null): void {
    this.#child = undefined;
    this.#options.onChange();
    if (this.#stopping || !this.#served) return;
    const lived = performance.now() - this.#startedAt;
    this.#failures = lived > STABLE_MS ? 0 : Math.min(this.#failures + 1, BACKOFF_MS.length - 1);
    const waitMs = BACKOFF_MS[lived > STABLE_MS ? 0 : this.#failures - 1] ?? 0;
    const how = signal === null ? `ended with code ${code}` : `was killed by ${signal}`;
    this.#options.report(
      `node ${this.name} ${how}; starting it again${waitMs > 0 ? ` in ${waitMs} ms` : ''}`,
    );
    setTimeout(() => {
      if (this.#stopping) return;
      this.start().then(
        () => this.#options.report(`node ${this.name} serves again (pid ${this.pid})`),
        () => undefined,
      );
    }, waitMs);
  }
}

function waitForReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (
        typeof message === 'object' &&
        message !== null &&
        'kind' in message &&
        message.kind === 'ready'
      )
        resolve();
    });
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`ended early (${signal ?? `code ${code}`})`)),
    );
  });
}
