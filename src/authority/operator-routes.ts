/** What operators may ask and change (see app.ts). */
import { z } from 'zod';
import { planSchema } from '#ring/builder/plan-format.ts';
import { isHost, parseDescriptionText } from '#ring/description.ts';
import { MAX_COLUMNS } from '#ring/fields.ts';
import type { Authority } from './authority.ts';
import { collectBackup } from './backup.ts';
import { encodeBackup } from './backup-format.ts';
import { clusterStatus } from './cluster-status.ts';
import { parseDocument } from './document.ts';
import { checkFits } from './document-fit.ts';
import { type AuthorityHono, input } from './http-input.ts';
import { ROLES } from './membership.ts';
import type { NodeRecord } from './records.ts';
import type { Wish } from './rings.ts';

const list = z.array(z.string().max(512)).max(10_000).default([]);
const text = z.string().max(64).optional();

const wishSchema = z
  .object({
    description: z.string().optional(),
    request: z
      .object({
        addDevice: list,
        setWeight: list,
        drain: list,
        remove: list,
        replicas: list,
        overload: text,
        minPartHours: text,
        partPower: text,
      })
      .strict()
      .optional(),
    seed: z.number().int().optional(),
    bytesUsed: z
      .union([z.number().min(0), z.record(z.string().max(256), z.number().min(0))])
      .optional(),
    bandwidth: z.number().positive().optional(),
  })
  .strict();

/** A name or an address; `*.` for buckets that are sub-domains. */
const certifiedHost = z
  .string()
  .refine((text) => isHost(text.replace(/^\*\./, '')), 'a host name or an address');

const who = z.string().max(128).default('operator');
const applySchema = z
  .object({
    plan: planSchema,
    force: z.boolean().default(false),
    acceptLoss: z.boolean().default(false),
    who,
  })
  .strict();
const byWhom = z.object({ who }).strict();

export function operatorRoutes(app: AuthorityHono, authority: Authority): void {
  app.get('/v1/status', async (context) => context.json(await clusterStatus(authority)));
  app.get('/v1/backup', async (context) => {
    const file = encodeBackup(await collectBackup(authority.state, authority.clock));
    return context.body(new Uint8Array(file), 200, { 'content-type': 'application/octet-stream' });
  });
  app.get('/v1/history', async (context) => context.json(await authority.store.history(100)));
  ringRoutes(app, authority);
  memberRoutes(app, authority);
  documentRoutes(app, authority);
}

function ringRoutes(app: AuthorityHono, { rings, store }: Authority): void {
  app.post('/v1/rings/plan', async (context) => {
    const { seed, bytesUsed, bandwidth, ...wish } = await input(context, wishSchema);
    return context.json(await rings.plan(wishOf(wish), { seed, bytesUsed, bandwidth }));
  });
  app.post('/v1/rings/apply', async (context) => {
    const { plan, who: name, ...accepted } = await input(context, applySchema);
    return context.json({ version: await rings.apply(plan, { ...accepted, who: name }) });
  });
  app.post('/v1/rings/undo', async (context) => {
    const { who: name } = await input(context, byWhom);
    return context.json({ version: await rings.undo(name) });
  });
  for (const verb of ['pause', 'resume'] as const) {
    app.post(`/v1/rings/${verb}`, async (context) => {
      const { who: name } = await input(context, byWhom);
      return context.json({ version: await rings.pause(verb === 'pause', name) });
    });
  }
  app.post('/v1/rings/gradual', async (context) => {
    const schema = z
      .object({
        weights: z
          .record(z.string().regex(/^\d{1,5}$/), z.number().min(0).max(1e12))
          .refine((weights) => Object.keys(weights).length > 0, 'of one device at least'),
        stepPercent: z.number().min(1).max(100).default(20),
        who,
      })
      .strict();
    const { weights, stepPercent, who: name } = await input(context, schema);
    return context.json({ version: await rings.startGradual(weights, stepPercent, name) });
  });
  app.get('/v1/rings', async (context) => {
    const { set, head } = await store.snapshot();
    const views = [...set.builders].map(([ring, builder]) => ({
      ring,
      version: builder.state.version,
      settings: builder.state.settings,
      joint: builder.state.former.size,
      undoable: builder.undoable,
      quality: builder.quality(),
    }));
    return context.json({ version: head.version, rings: views, devices: set.devices() });
  });
}

/** Exactly one way of saying it; neither: a rebalance. */
function wishOf({
  description,
  request,
}: Pick<z.infer<typeof wishSchema>, 'description' | 'request'>): Wish {
  if (description !== undefined)
    return { kind: 'description', description: parseDescriptionText(description) };
  if (request === undefined) return { kind: 'change', change: {} };
  return { kind: 'request', request };
}

function memberRoutes(app: AuthorityHono, { members, store, reports }: Authority): void {
  app.get('/v1/nodes', async (context) => {
    const { nodes } = await store.snapshot();
    const told = new Map((await reports.all()).map(({ report }) => [report.process, report.ports]));
    // Of who joined after a backup was restored, its own word is all that is known.
    const portsOf = ({ name, ports }: NodeRecord) =>
      Object.keys(ports).length > 0 ? ports : (told.get(name) ?? {});
    return context.json([...nodes.values()].map((node) => ({ ...node, ports: portsOf(node) })));
  });
  app.post('/v1/nodes/:name/expel', async (context) => {
    const { who: name } = await input(context, byWhom);
    return context.json({ version: await members.expel(context.req.param('name'), name) });
  });
  app.post('/v1/tokens', async (context) => {
    const schema = z
      .object({
        site: z.string().max(64),
        roles: z.array(z.enum(ROLES)).min(1),
        hours: z
          .number()
          .min(0.01)
          .max(24 * 365)
          .default(24),
        uses: z.number().int().min(1).max(10_000).default(1),
      })
      .strict();
    return context.json({ token: await members.createToken(await input(context, schema)) }, 201);
  });
  app.post('/v1/server-certificate', async (context) => {
    const schema = z
      .object({
        request: z.string().max(16_384),
        hosts: z.array(certifiedHost).min(1).max(MAX_COLUMNS),
      })
      .strict();
    const { request, hosts } = await input(context, schema);
    return context.json({ certificate: await members.certifyServer(request, hosts) }, 201);
  });
}

function documentRoutes(app: AuthorityHono, { store }: Authority): void {
  app.get('/v1/document', async (context) => context.json((await store.snapshot()).document));
  app.put('/v1/document', async (context) => {
    const schema = z.object({ document: z.unknown(), who }).strict();
    const { document, who: name } = await input(context, schema);
    const parsed = parseDocument(document);
    const { version } = await store.change({ what: 'cluster document', who: name }, (now) => {
      checkFits(parsed, now);
      return { document: parsed, result: undefined };
    });
    return context.json({ version });
  });
}
