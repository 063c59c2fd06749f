/**
 * `anello ring`: what moves where. Through the authority of a running cluster, or, with `--builder DIR`,
 * in a folder of builder files without any cluster; plans have the same form in both.
 */
import type { Command } from 'commander';
import { addAuthorityOptions } from '../authority/client.ts';
import { addExamples } from '../examples.ts';
import { addChangeOptions } from '../ring/change-options.ts';
import * as offline from '../ring/offline.ts';
import * as online from '../ring/online.ts';

const DEFAULT_HANDOFFS = 3;

type Where = { readonly builder?: string };

export function register(program: Command): void {
  const ring = program.command('ring').description('plan, change and watch rings');
  both(ring);
  onlineOnly(ring);
  offlineOnly(ring);
  addExamples(ring, [
    'anello ring plan --drain padova-1     # what it would move; kept for apply',
    'anello ring apply --wait              # do it, with a progress bar (Ctrl-C leaves it running)',
    'anello ring progress                  # pick the progress bar up again',
    'anello ring apply --set-weight bari/bari-1/d1=50 --gradual 20',
    'anello ring pause && anello ring resume',
    'anello ring undo',
    'anello ring show object/standard',
    'anello ring status',
    'anello ring plan rings/wide-area.yaml --builder DIR',
    'anello ring apply --builder DIR',
    'anello ring settle --builder DIR',
    'anello ring check --builder DIR',
    'anello ring lookup /AUTH_demo/photos/cat.jpg --builder DIR',
  ]);
}

function both(ring: Command): void {
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(ring.command(name).description(text))
      .option('--builder <dir>', 'a folder of builder files instead of a cluster')
      .option('--now <hours>', 'with --builder: the hour to reckon from, since 1970');
  const planning = (name: string, text: string): Command =>
    addChangeOptions(
      verb(name, text).argument('[file]', 'description of the cluster, such as rings/local.yaml'),
    )
      .option('--seed <number>', 'another seed gives another of the equally good rings')
      .option('--force', 'also what puts more than one replica of a partition at risk')
      .option('--accept-loss', 'also where removed devices take the knowing majority with them')
      .option(
        '--bytes-used <size|file>',
        'bytes in all, or a JSON file {"site/node/device": bytes}',
      )
      .option('--bandwidth <size>', 'per second between two sites, such as 100MB');
  planning('plan', 'show what a change would move, and keep it for apply').action(
    (file: string | undefined, options: offline.PlanningOptions & Where) =>
      options.builder === undefined ? online.plan(file, options) : offline.plan(file, options),
  );
  planning('apply', 'do the change that was planned last, or the one that is named')
    .option('--wait', 'stay, with a progress bar, until its moves are done')
    .option('--gradual <percent>', 'weights in steps of so many percent, as moves finish')
    .action(
      (file: string | undefined, options: online.ApplyOptions & offline.PlanningOptions & Where) =>
        options.builder === undefined ? online.apply(file, options) : offline.apply(file, options),
    );
  verb('undo', 'go back to before the last change').action(
    (options: offline.FolderOptions & Where) =>
      options.builder === undefined ? online.undo(options) : offline.undo(options),
  );
  verb('show', 'settings, devices and quality')
    .argument('[ring]', 'such as object/standard')
    .action((name: string | undefined, options: offline.FolderOptions & Where) =>
      options.builder === undefined ? online.show(name, options) : offline.show(name, options),
    );
}

function onlineOnly(ring: Command): void {
  const verb = (name: string, text: string): Command =>
    addAuthorityOptions(ring.command(name).description(text));
  verb('status', 'who runs which version, what moves, what needs somebody').action(online.status);
  verb('progress', 'the progress bar of the change under way').action(online.progress);
  verb('pause', 'settle nothing, take no further step, until resumed').action(online.pause);
  verb('resume', 'go on').action(online.resume);
}

function offlineOnly(ring: Command): void {
  const verb = (name: string, text: string): Command =>
    ring
      .command(name)
      .description(`${text} (--builder)`)
      .requiredOption('--builder <dir>', 'folder of builder files and published rings')
      .option('--json', 'machine-readable output')
      .option('--now <hours>', 'the hour to reckon min_part_hours from, since 1970; default: now');
  verb('settle', 'end the joint phase: the new sets alone count from now on').action(
    offline.settle,
  );
  verb('lookup', 'where a name lives')
    .argument('<name>', '/account, /account/container or /account/container/object')
    .option('--ring <ring>', 'default: by the name; the object ring of the lowest number')
    .option('--hash-prefix <text>', "the cluster's hash prefix", '')
    .option('--hash-suffix <text>', "the cluster's hash suffix", '')
    .option('--handoffs <number>', 'how many to show', String(DEFAULT_HANDOFFS))
    .action(offline.lookup);
  verb('check', 'verify every file and every placement').action(offline.check);
}
