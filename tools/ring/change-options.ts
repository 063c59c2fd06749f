/** What `plan` and `apply` are told on the command line. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { codeOf, OperatingError } from '#base/errors.ts';
import { type ChangeRequest, readRequest, wrongUse } from '#ring/builder/change-request.ts';
import type { RingSet, SetChange } from '#ring/builder/ring-set.ts';
import { parseDescriptionText } from '#ring/description.ts';

export function addChangeOptions(command: Command): Command {
  const collect = (value: string, all: string[]): string[] => [...all, value];
  return command
    .option(
      '--add-device <spec>',
      'SITE/NODE/NAME=WEIGHT on a known node, or SITE/ZONE/NODE/NAME=WEIGHT@HOST:PORT',
      collect,
      [],
    )
    .option('--set-weight <device=weight>', 'a new weight', collect, [])
    .option(
      '--drain <target>',
      'weight 0: a device, a node or a site gives everything away',
      collect,
      [],
    )
    .option('--remove <target>', 'a device, node or site that is gone', collect, [])
    .option('--replicas <ring=number>', 'replicas of a ring, fractions allowed', collect, [])
    .option('--overload <fraction>', 'how far dispersion may overrule weight, such as 0.1')
    .option('--min-part-hours <hours>', 'between two moves of a partition')
    .option('--part-power <number>', 'raise the number of partitions to 2^number; moves nothing');
}

/** The change, or undefined where the command line asks for none. */
export function readChange(
  set: RingSet,
  file: string | undefined,
  options: ChangeRequest,
): SetChange | undefined {
  const byHand = readRequest(set, options);
  if (file === undefined) return byHand;
  if (byHand !== undefined) throw wrongUse('either a description or single changes, not both');
  return set.changeTo(readDescription(file));
}

function readDescription(file: string): ReturnType<typeof parseDescriptionText> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new OperatingError(
      'no-description',
      `cannot read ${file}: ${codeOf(cause)}`,
      {},
      { cause },
    );
  }
  try {
    return parseDescriptionText(text);
  } catch (cause) {
    if (!(cause instanceof OperatingError)) throw cause;
    throw new OperatingError(cause.code, `${file}: ${cause.message}`, cause.facts, { cause });
  }
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  PB: 1e15,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
  PIB: 2 ** 50,
};

/** `1.5TB`, `200 GiB`, `1000`; undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9.]+) *([a-zA-Z]*)$/.exec(text.trim());
  const unit = UNITS[(match?.[2] ?? '?').toUpperCase()];
  const value = Number(match?.[1]);
  return unit === undefined || !Number.isFinite(value) ? undefined : value * unit;
}
