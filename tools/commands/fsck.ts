/** `anello fsck`: disks of a node that does not run, read whole and, if asked, repaired. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { ProgressBar } from '../authority/progress-bar.ts';
import { type FsckReport, fsck } from '../device/fsck.ts';
import { MACHINE_FILE } from '../endpoint.ts';
import { formatSize } from '../ring/plan-print.ts';

interface Options {
  readonly config: string;
  readonly repair?: boolean;
  readonly json?: boolean;
}

export function register(program: Command): void {
  program
    .command('fsck')
    .description('check disks of a node that is stopped; with --repair, mend them')
    .argument('[folder...]', "devices; default: all disks of the machine's own file")
    .option('--config <file>', "the machine's own file", MACHINE_FILE)
    .option('--repair', 'quarantine what is damaged, rewrite its segments, rebuild databases')
    .option('--json', 'machine-readable output')
    .addHelpText(
      'after',
      `
Without --repair nothing is changed. Exit 0: all is good, or mended; 1: problems are left.
What was quarantined comes back from the other replicas when the node runs again.

Examples:
  anello fsck
  anello fsck --repair /srv/disk2`,
    )
    .action(run);
}

async function run(folders: readonly string[], options: Options): Promise<void> {
  const all = folders.length > 0 ? folders : disksOf(options.config);
  for (const folder of all)
    if (!existsSync(folder)) throw new OperatingError('wrong-use', `there is no folder ${folder}`);
  const env = createNodeEnv({ logLevel: 'error', logDestination: 2 });
  const reports: FsckReport[] = [];
  try {
    for (const folder of all) {
      const at = path.resolve(folder);
      const bar = options.json ? undefined : new ProgressBar('stderr');
      const progress = (what: string, share: number): void =>
        bar?.show(Math.round(100 * share), 100, `% ${what} ${folder}`);
      const report = await fsck(env, at, { repair: options.repair === true, progress });
      bar?.clear();
      reports.push(report);
      if (!options.json) print(report);
    }
  } finally {
    await env.close();
  }
  if (options.json) console.log(JSON.stringify(reports, null, 2));
  if (reports.some(isBad)) process.exitCode = 1;
}

function isBad({ problems, repair }: FsckReport): boolean {
  return (repair?.left ?? problems).length > 0;
}

function print(report: FsckReport): void {
  const { path: at, device, name, records, bytes, problems, known, repair } = report;
  const found = problems.length === 0 ? 'everything is good' : `${problems.length} problems`;
  const kept = known === 0 ? '' : `, ${known} damaged places are in quarantine already`;
  console.log(
    `${at}: device ${device} (${name}), ${records} records, ${formatSize(bytes)}: ${found}${kept}`,
  );
  for (const { where, what } of problems) console.log(`  PROBLEM ${where}: ${what}`);
  if (repair === undefined) return;
  const index = repair.rebuiltIndex ? ', the index was made anew' : '';
  const left = repair.left.length === 0 ? 'nothing is left' : `${repair.left.length} problems left`;
  console.log(`  repaired: ${repair.quarantined} put into quarantine${index}; ${left}`);
  for (const { where, what } of repair.left) console.log(`  LEFT ${where}: ${what}`);
}

const disksSchema = z.object({ disks: z.array(z.string()).min(1) });

function disksOf(config: string): string[] {
  if (!existsSync(config))
    throw new OperatingError('wrong-use', `there is no ${config}: name the folders of the devices`);
  const parsed = disksSchema.safeParse(parse(readFileSync(config, 'utf8')));
  if (parsed.success) return parsed.data.disks;
  throw new OperatingError(
    'wrong-use',
    `${config} names no disks: name the folders of the devices`,
  );
}
