/**
 * One process under the supervisor (a node, a member of etcd): started, watched, started again when it
 * dies.
 *
 * The first restart is immediate (clients that retry within two seconds must succeed); a process that
 * keeps dying right after its start is started again more and more slowly, and says so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';

/** Killed by hand again and again is no crash loop: what lived this long is started again at once. */
const STABLE_MS = 1_000;
const ASK_MS = 50;
/** Behind standard input, output, error and the IPC channel. */
export const INHERITED_FD = 4;
const BACKOFF_MS = [0, 200, 1000, 3000, 10_000];

export interface ManagedProcessOptions {
  /** As a person is told: `node bari-1`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** Asked until it says yes. Without it the process says by itself, over its IPC channel, that it serves. */
  readonly isServing?: () => Promise<boolean>;
  readonly logFile: string;
  /** Default: this process's. */
  readonly env?: NodeJS.ProcessEnv;
  /** Sockets that it inherits, as descriptors from INHERITED_FD on. */
  readonly inherit?: readonly number[];
  /** Tells a person; one line. */
  readonly report: (line: string) => void;
  /** The process has a (new) pid, or none. */
  readonly onChange: () => void;
}

export class ManagedProcess {
  readonly name: string;
  readonly #options: ManagedProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  /** Served once: from then on it is started again when it ends; before, its end is a failed start. */
  #served = false;
  #failures = 0;
  #startedAt = 0;
  #ready: Promise<void> | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: ManagedProcessOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when the process says that it serves; rejects when it ends before. */
  start(): Promise<void> {
    const { command, args, logFile, isServing, env, inherit } = this.#options;
    const log = openSync(logFile, 'a');
    const child = spawn(command, args, {
      stdio: [
        'ignore',
        log,
        log,
        ...(isServing === undefined ? (['ipc'] as const) : []),
        ...(inherit ?? []),
      ],
      ...(env !== undefined && { env }),
      // Its own group: Ctrl-C reaches the supervisor only, which then stops all in order.
      detached: true,
    });
    closeSync(log);
    this.#child = child;
    this.#startedAt = performance.now();
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()));
    this.#ready = waitForReady(child, isServing);
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
      `${this.name} ${how}; starting it again${waitMs > 0 ? ` in ${waitMs} ms` : ''}`,
    );
    setTimeout(() => {
      if (this.#stopping) return;
      this.start().then(
        () => this.#options.report(`${this.name} serves again (pid ${this.pid})`),
        () => undefined,
      );
    }, waitMs);
  }
}

function waitForReady(
  child: ChildProcess,
  isServing: (() => Promise<boolean>) | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (isReadyMessage(message)) resolve();
    });
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`ended early (${signal ?? `code ${code}`})`)),
    );
    if (isServing !== undefined) void askUntilServing(child, isServing).then(resolve, reject);
  });
}

async function askUntilServing(
  child: ChildProcess,
  isServing: () => Promise<boolean>,
): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    if (await isServing()) return;
    await new Promise((resolve) => setTimeout(resolve, ASK_MS));
  }
  throw new Error('ended early');
}

function isReadyMessage(message: unknown): boolean {
  const tagged = typeof message === 'object' && message !== null && 'kind' in message;
  return tagged && message.kind === 'ready';
}
