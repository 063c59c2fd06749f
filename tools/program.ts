/**
 * The `anello` command: one file per verb under commands/. Exit codes: 0 done, 1 failed, 2 wrong use.
 * Verbs throw OperatingErrors; they end here as one clear line.
 */

import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { codeOf, messageOf } from '#base/errors.ts';

const FAILED = 1;
const WRONG_USE = 2;

/** Loaded only when the verb is called: `anello up` must not load what `anello device` needs. */
const VERBS: Readonly<Record<string, () => Promise<{ register(program: Command): void }>>> = {
  up: () => import('./commands/up.ts'),
  run: () => import('./commands/run.ts'),
  completion: () => import('./commands/completion.ts'),
  restart: () => import('./commands/restart.ts'),
  status: () => import('./commands/status.ts'),
  trace: () => import('./commands/trace.ts'),
  ring: () => import('./commands/ring.ts'),
  node: () => import('./commands/node.ts'),
  join: () => import('./commands/join.ts'),
  authority: () => import('./commands/authority.ts'),
  backup: () => import('./commands/backup.ts'),
  restore: () => import('./commands/restore.ts'),
  config: () => import('./commands/config.ts'),
  recon: () => import('./commands/recon.ts'),
  drain: () => import('./commands/drain.ts'),
  deploy: () => import('./commands/deploy.ts'),
  device: () => import('./commands/device.ts'),
  fsck: () => import('./commands/fsck.ts'),
  bench: () => import('./commands/bench.ts'),
  doctor: () => import('./commands/doctor.ts'),
  object: () => import('./commands/object.ts'),
  container: () => import('./commands/container.ts'),
  dispersion: () => import('./commands/dispersion.ts'),
  audit: () => import('./commands/audit.ts'),
  repair: () => import('./commands/repair.ts'),
  link: () => import('./commands/link.ts'),
  project: () => import('./commands/project.ts'),
  user: () => import('./commands/user.ts'),
  grant: () => import('./commands/grant.ts'),
  key: () => import('./commands/key.ts'),
  encryption: () => import('./commands/encryption.ts'),
  quota: () => import('./commands/quota.ts'),
  identity: () => import('./commands/identity.ts'),
};

export async function main(args: readonly string[]): Promise<void> {
  const program = await programOf(wanted(args));
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** With these verbs; by default all of them. */
export async function programOf(loads = Object.values(VERBS)): Promise<Command> {
  const program = new Command('anello')
    .description('A geo-distributed, ring-based object store')
    .version(version(), '-V, --version')
    .showHelpAfterError('(anello VERB --help tells more)')
    .exitOverride()
    .configureHelp({ sortSubcommands: true });
  for (const load of loads) {
    const verb = await load();
    verb.register(program);
  }
  exitOverrideDeep(program);
  return program;
}

function version(): string {
  const file = new URL('../package.json', import.meta.url);
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function wanted(args: readonly string[]): (() => Promise<{ register(program: Command): void }>)[] {
  const verb = args.find((arg) => !arg.startsWith('-'));
  const load = verb === undefined ? undefined : VERBS[verb];
  return load === undefined ? Object.values(VERBS) : [load];
}

function exitOverrideDeep(command: Command): void {
  command.exitOverride();
  for (const child of command.commands) exitOverrideDeep(child);
}

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed its own message; help and --version are no errors.
    return error.exitCode === 0 ? 0 : WRONG_USE;
  }
  console.error(`anello: ${messageOf(error)}`);
  return codeOf(error) === 'wrong-use' ? WRONG_USE : FAILED;
}
