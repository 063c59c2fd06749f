/** `anello run --config node.yaml`: one machine's roles, in the foreground (systemd's unit calls it). */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { OperatingError } from '#base/errors.ts';
import { NODE_FLAGS, nodeEnvironment } from '../node-flags.ts';

const NODE_MAIN = fileURLToPath(new URL('../../src/main/node.ts', import.meta.url));

export function register(program: Command): void {
  program
    .command('run')
    .description("run this machine's roles in the foreground")
    .requiredOption('--config <file>', "the node's own file")
    .option('--json', 'as always: its log is JSON, a line for each event')
    .addHelpText('after', '\nExample:\n  anello run --config /etc/anello/node.yaml')
    .action(async ({ config }: { config: string }) => {
      if (!existsSync(config)) throw new OperatingError('no-config', `there is no ${config}`);
      process.exitCode = await runNode(config);
    });
}

function runNode(config: string): Promise<number> {
  const child = spawn(process.execPath, [...NODE_FLAGS, NODE_MAIN, '--config', config], {
    stdio: 'inherit',
    env: nodeEnvironment(),
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}
