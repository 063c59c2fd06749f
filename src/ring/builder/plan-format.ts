/**
 * A plan as data: the change, its seed and hour, and the versions it was made for. Making it again gives
 * the same rings, so that what was shown is what is done. `anello ring plan` keeps it as a file, the
 * authority's API passes it to and fro.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import type { RingSet, SetChange, SetPlan } from './ring-set.ts';

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
const name = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/);
const device = z.object({
  id: z.number().int().min(0).optional(),
  site: name,
  zone: name,
  node: name,
  name,
  weight: z.number(),
  meta,
});
export const planSchema = z.object({
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

export type PlanContent = z.infer<typeof planSchema>;

export function planContent(set: RingSet, plan: SetPlan): PlanContent {
  const change: SetChange = plan.change;
  // Through JSON, as it will be read: what is undefined is left out.
  const content = { format: 1, versions: versionsOf(set), options: plan.options, change };
  return planSchema.parse(JSON.parse(JSON.stringify(content)));
}

/** @throws OperatingError `stale-plan` */
export function remakePlan(set: RingSet, content: PlanContent): SetPlan {
  if (JSON.stringify(content.versions) !== JSON.stringify(versionsOf(set))) {
    throw new OperatingError(
      'stale-plan',
      'the rings have changed since this plan was made: plan again',
    );
  }
  return set.plan(content.change, content.options);
}

function versionsOf(set: RingSet): Record<string, number> {
  const names = [...set.builders.keys()].sort();
  return Object.fromEntries(names.map((name) => [name, set.builders.get(name)!.state.version]));
}
