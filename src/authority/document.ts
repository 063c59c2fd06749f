/**
 * The cluster document: what an operator decides about the whole cluster besides rings and nodes.
 * Every field is checked when it is set, and again by every process that reads a bundle.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { CONSISTENCY_MODES } from '#ring/cluster.ts';

const MAX_SITES = 256;
const MAX_LINKS = 4096;
const name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/, 'lower-case letters, digits, dots, dashes');
const url = z
  .string()
  .regex(/^https?:\/\/[^\s/]+(\/[^\s]*)?$/, 'a URL')
  .max(1024);

const host = z
  .string()
  .toLowerCase()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'a host name');

const policy = z
  .object({
    index: z.number().int().min(0),
    name,
    copies: z.number().int().min(1),
    states: z.number().int().min(1),
    mode: z.enum(CONSISTENCY_MODES),
    isDefault: z.boolean(),
  })
  .strict();

/** Hours of the day, UTC (sites lie in several time zones): `22:00-06:00`. */
const hours = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$/);

const site = z
  .object({
    name,
    /** One name for Swift, S3 and Keystone at this site, as clients see it. */
    publicUrl: url.optional(),
    /** Networks that clients come from; for firewall rules. Default: everywhere. */
    clients: z.array(z.string().regex(/^[0-9a-fA-F:.]+\/\d{1,3}$/)).default([]),
  })
  .strict();

const link = z
  .object({
    between: z.tuple([name, name]),
    rttMs: z.number().min(0).max(60_000),
    /** Bytes per second that repair and moves may use. */
    bandwidth: z.number().min(1).optional(),
    /** When they may use it; always when absent. */
    hours: hours.optional(),
  })
  .strict();

export const documentSchema = z
  .object({
    name,
    policies: z.array(policy).min(1).max(64),
    sites: z.array(site).max(MAX_SITES),
    links: z.array(link).max(MAX_LINKS).default([]),
    /** Numbers that processes take as limits, by name. */
    limits: z.record(z.string().regex(/^[a-z][a-zA-Z.]{0,63}$/), z.number()).default({}),
    features: z.record(z.string().regex(/^[a-z][a-zA-Z.-]{0,63}$/), z.boolean()).default({}),
    /** Where users may have events sent (src/env/node/outside.ts): hosts, `*.example.org`, networks. */
    webhooks: z
      .array(z.string().regex(/^[*a-zA-Z0-9._:/-]{1,255}$/))
      .max(1024)
      .default([]),
    /** Hosts whose sub-domains are buckets (virtual-host style S3), and those shown as websites. */
    s3Domains: z.array(host).max(256).optional(),
    s3WebsiteDomains: z.array(host).max(256).optional(),
    /** Where what must agree is kept: `etcd:http://...`, `sqlite:FILE` on one machine. */
    state: z.string().max(4096).default(''),
    /** What to do about failing devices: minutes until their plan is applied; absent: propose only. */
    applyFailuresAfterMinutes: z.number().min(0).max(100_000).optional(),
  })
  .strict()
  .superRefine((document, context) => {
    const issue = (path: (string | number)[], message: string): void =>
      context.addIssue({ code: 'custom', path, message });
    const known = new Set(document.sites.map((item) => item.name));
    if (known.size < document.sites.length) issue(['sites'], 'a site is given twice');
    document.links.forEach(({ between }, i) => {
      if (between[0] === between[1]) issue(['links', i], 'a link joins two sites');
      for (const end of between)
        if (!known.has(end)) issue(['links', i], `there is no site "${end}"`);
    });
    const defaults = document.policies.filter((item) => item.isDefault).length;
    if (defaults !== 1) issue(['policies'], 'exactly one policy must be the default');
  });

export type Document = z.infer<typeof documentSchema>;

/** @throws OperatingError `bad-document`: every wrong field with its path */
export function parseDocument(value: unknown): Document {
  const result = documentSchema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.') || '(top)'}: ${message}`,
  );
  throw new OperatingError('bad-document', `wrong cluster document: ${issues.join('; ')}`, {
    issues,
  });
}
