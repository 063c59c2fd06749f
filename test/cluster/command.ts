/** The `anello` command, run as a user runs it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { CLI } from './cluster.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 300_000;
const MAX_OUTPUT = 64 * 1024 * 1024;

export interface CommandOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function anello(...args: string[]): Promise<CommandOutcome> {
  try {
    const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT };
    const { stdout, stderr } = await run(process.execPath, [CLI, ...args], options);
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as CommandOutcome;
    return { code, stdout, stderr };
  }
}

export interface Status {
  readonly nodes: readonly {
    readonly name: string;
    readonly error?: string;
    readonly status?: {
      readonly pid: number;
      readonly devices: readonly DeviceStatus[];
    };
  }[];
  readonly degraded: readonly string[];
}

export interface DeviceStatus {
  readonly id: number;
  readonly name: string;
  readonly status: string;
  readonly complete: Readonly<Record<string, number>>;
  readonly facts: { readonly entries: number; readonly quarantined: number };
}

export async function statusOf(folder: string): Promise<Status> {
  const { code, stdout, stderr } = await anello('status', '--data', folder, '--json');
  if (code !== 0) throw new Error(`anello status: ${stderr}`);
  return JSON.parse(stdout) as Status;
}

/** Messages are counted by line; empty ones don't count. */
export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}
