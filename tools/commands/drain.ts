/** `anello drain`: takes this machine's proxy out of its balancer, without a failed request. */
import { closeSync, existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';

interface DrainOptions {
  readonly config: string;
  readonly off?: boolean;
  readonly json?: boolean;
}

const fileSchema = z.object({ data: z.string().min(1) }).loose();

export function register(program: Command): void {
  program
    .command('drain')
    .description("take this machine's proxy out of its balancer, or put it back")
    .option('--config <file>', "the machine's own file", '/etc/anello/node.yaml')
    .option('--off', 'put it back')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
Its /healthcheck answers 503 from now on; requests under way go on, new ones still work.
Example: anello drain && sleep 30 && systemctl restart anello && anello drain --off`,
    )
    .action(drain);
}

function drain({ config, off = false, json = false }: DrainOptions): void {
  if (!existsSync(config)) throw new OperatingError('no-config', `there is no ${config}`);
  const { data } = fileSchema.parse(parse(readFileSync(config, 'utf8')));
  const file = path.join(data, 'drain');
  if (off) rmSync(file, { force: true });
  else closeSync(openSync(file, 'w'));
  const state = off ? 'served again' : 'drained';
  console.log(json ? JSON.stringify({ drained: !off, file }) : `${state} (${file})`);
}
