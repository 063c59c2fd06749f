/**
 * The plan that `anello ring plan` leaves in the folder for `anello ring apply`: the change, its seed
 * and hour, and the versions it was made for. Applying makes the plan again, which gives the same
 * rings, so that what was shown is what is done.
 */
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { RingSet, SetChange, SetPlan } from '#ring/builder/ring-set.ts';
import { inFile, writeSynced } from './folder.ts';

const FILE = 'plan.json';

const settings = z
  .object({
    partPower: z.number(),
    replicas: z.number(),
    copies: z.number(),
    overload: z.number(),
    minPartHours: z.number(),
  })
  .partial();
const meta = z.record(z.string(), z.string());
const device = z.object({
  site: z.string(),
  zone: z.string(),
  node: z.string(),
  name: z.string(),
  weight: z.number(),
  meta,
});
const schema = z.object({
  format: z.literal(1),
  versions: z.record(z.string(), z.number()),
  options: z.object({ seed: z.number(), nowHours: z.number() }),
  change: z.object({
    add: z.array(device).optional(),
    update: z
      .array(
        device.pick({ zone: true, weight: true, meta: true }).partial().extend({ id: z.number() }),
      )
      .optional(),
    remove: z.array(z.number()).optional(),
    settings: z.record(z.string(), settings).optional(),
    create: z
      .array(
        z.object({
          name: z.string(),
          settings: settings.required().extend({ policy: z.number() }),
        }),
      )
      .optional(),
  }),
});

export function writePlan(folder: string, set: RingSet, plan: SetPlan): void {
  const change: SetChange = plan.change;
  const content = { format: 1, versions: versionsOf(set), options: plan.options, change };
  writeSynced(path.join(folder, FILE), Buffer.from(`${JSON.stringify(content, null, 2)}\n`));
}

/** @throws OperatingError `no-plan`, `stale-plan`, `malformed` */
export function readPlan(folder: string, set: RingSet): SetPlan {
  const file = path.join(folder, FILE);
  if (!existsSync(file)) {
    throw new OperatingError(
      'no-plan',
      `no plan in ${folder}: make one with anello ring plan, or name the change`,
    );
  }
  const parsed = inFile(file, (bytes) => {
    try {
      return schema.parse(JSON.parse(bytes.toString('utf8')));
    } catch (cause) {
      throw new OperatingError('malformed', 'not a plan of this version', {}, { cause });
    }
  });
  if (JSON.stringify(parsed.versions) !== JSON.stringify(versionsOf(set))) {
    throw new OperatingError(
      'stale-plan',
      'the rings have changed since this plan was made: plan again',
    );
  }
  return set.plan(parsed.change, parsed.options);
}

export function dropPlan(folder: string): void {
  rmSync(path.join(folder, FILE), { force: true });
}

function versionsOf(set: RingSet): Record<string, number> {
  const names = [...set.builders.keys()].sort();
  return Object.fromEntries(names.map((name) => [name, set.builders.get(name)!.state.version]));
}
