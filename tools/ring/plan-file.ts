/** The plan that `anello ring plan` leaves in the folder for `anello ring apply`. */
import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { OperatingError } from '#base/errors.ts';
import { planContent, planSchema, remakePlan } from '#ring/builder/plan-format.ts';
import type { RingSet, SetPlan } from '#ring/builder/ring-set.ts';
import { inFile, writeSynced } from './folder.ts';

const FILE = 'plan.json';

export function writePlan(folder: string, set: RingSet, plan: SetPlan): void {
  const text = JSON.stringify(planContent(set, plan), null, 2);
  writeSynced(path.join(folder, FILE), Buffer.from(`${text}\n`));
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
  const content = inFile(file, (bytes) => {
    try {
      return planSchema.parse(JSON.parse(bytes.toString('utf8')));
    } catch (cause) {
      throw new OperatingError('malformed', 'not a plan of this version', {}, { cause });
    }
  });
  return remakePlan(set, content);
}

export function dropPlan(folder: string): void {
  rmSync(path.join(folder, FILE), { force: true });
}
