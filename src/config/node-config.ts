/**
 * A node's own file: its name, site, roles, disks, ports and where the authority is. Parsed and
 * checked once; everything else about the cluster comes signed from the authority.
 */

import { parse } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';

export const ROLES = ['proxy', 'storage', 'identity', 'authority'] as const;
export type Role = (typeof ROLES)[number];

/** Defaults of `anello run` on a real machine; `anello up` gives every port explicitly. */
export const DEFAULT_PORTS = {
  wire: 7400,
  admin: 7500,
  proxy: 8080,
  authority: 7600,
  identity: 5000,
};

/** X11's ports: wide-area Swift clashed with them (6000 and up). */
const FORBIDDEN_PORTS = { from: 6000, to: 6063 };

export const port = z
  .number()
  .int()
  .min(1)
  .max(65_535)
  .refine((value) => value < FORBIDDEN_PORTS.from || value > FORBIDDEN_PORTS.to, {
    message: `ports ${FORBIDDEN_PORTS.from}-${FORBIDDEN_PORTS.to} belong to X11`,
  });

const network = z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]);

const memberUrl = z.url({ protocol: /^https?$/ }).refine((url) => new URL(url).pathname === '/', {
  message: 'http://HOST:PORT',
});

export const nodeName = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?$/, 'lower-case letters, digits, dots, dashes');
const name = nodeName;
const rtt = z.number().min(0).max(10_000);

/** What etcd's members ask for, and whom to believe to be one: PEM files. */
export const etcdCertificates = z
  .object({ authorityFile: z.string(), certificateFile: z.string(), keyFile: z.string() })
  .strict();

/** How this machine serves its users. Both forms of the file have these. */
export const serviceFields = {
  /** HTTPS on the proxy's and identity's ports: PEM files, read again when they change. */
  tls: z.object({ keyFile: z.string(), certificateFile: z.string() }).strict().optional(),
  /** Certificate of identity's TLS port: PEM files. */
  identityTls: z.object({ keyFile: z.string(), certificateFile: z.string() }).strict().optional(),
  /** Whom client certificates and web identity tokens lead to. */
  mapping: z
    .object({
      rulesFile: z.string(),
      /** As /etc/grid-security/certificates. */
      caFolder: z.string().optional(),
      /** As /etc/grid-security/vomsdir. */
      vomsFolder: z.string().optional(),
      /** Issuers of web identity tokens, YAML. */
      issuersFile: z.string().optional(),
    })
    .strict()
    .optional(),
  identity: z
    .object({
      /** How long a token lives. */
      tokenHours: z.number().positive().max(48).optional(),
      /** Passwords that users set end after that; absent: never. */
      passwordDays: z.number().positive().max(3660).optional(),
      /** Anybody may enrol, with these roles in a project of their own; absent: by invitation. */
      openRegistration: z
        .object({ roles: z.array(z.string()).min(1).max(16) })
        .strict()
        .optional(),
      /** A proxy that was cut off from state for so long refuses tokens; absent: it never does. */
      refuseTokensAfterMinutes: z.number().positive().optional(),
    })
    .strict()
    .default({}),
  /** Balancers whose X-Forwarded-For and -Proto are believed: addresses and networks (10.0.0.0/8). */
  trustedProxies: z.array(network).max(256).default([]),
  /** Where other people's clients reach the proxies: for catalogues. Site to URL. */
  publicUrls: z.record(z.string(), z.string()).default({}),
  /** Hosts whose sub-domains are buckets (virtual-host style S3), besides the cluster document's. */
  s3Domains: z.array(z.string().toLowerCase()).default([]),
  /** Hosts whose sub-domains are buckets shown as websites, besides the cluster document's. */
  s3WebsiteDomains: z.array(z.string().toLowerCase()).default([]),
  /** What lifecycle rules count as a day; less than one lets people see rules at work. */
  lifecycleDaySeconds: z.number().int().min(1).max(86_400).default(86_400),
};

const schema = z
  .object({
    format: z.literal(1),
    name,
    site: name,
    roles: z.array(z.enum(ROLES)).min(1),
    /** Folder of this node's own files. */
    data: z.string().min(1),
    clusterId: z.string().regex(/^[0-9a-f]{32}$/),
    /** File with the key of the loopback handshake; needed where there is no `wireTls`. */
    wireKeyFile: z.string().min(1).optional(),
    /** Mutual TLS between machines: PEM files; the certificate's common name is the node's. Without it the key. */
    wireTls: z
      .object({ keyFile: z.string(), certificateFile: z.string(), authorityFile: z.string() })
      .strict()
      .optional(),
    /** Durable 16-bit ids from the authority: the node's own, then one per proxy worker. */
    workerIds: z.array(z.number().int().min(0).max(0xffff)).min(1),
    listen: z
      .object({
        host: z.string().default('127.0.0.1'),
        /** The admin port is for this machine's own tools and its monitoring. */
        adminHost: z.string().optional(),
        wire: port.default(DEFAULT_PORTS.wire),
        admin: port.default(DEFAULT_PORTS.admin),
        proxy: port.default(DEFAULT_PORTS.proxy),
        authority: port.default(DEFAULT_PORTS.authority),
        identity: port.default(DEFAULT_PORTS.identity),
        /** Identity's port that asks for client certificates; needs `identityTls`. */
        identityTls: port.optional(),
        /** One per proxy worker. */
        workerAdmin: z.array(port).default([]),
      })
      .strict(),
    ...serviceFields,
    authorities: z.array(z.string()).min(1),
    state: z.discriminatedUnion('driver', [
      z.object({ driver: z.literal('sqlite'), path: z.string().min(1) }).strict(),
      /** Client URLs of the members, this site's first. */
      z
        .object({
          driver: z.literal('etcd'),
          endpoints: z.array(memberUrl).min(1),
          tls: etcdCertificates.optional(),
        })
        .strict(),
    ]),
    /** Key that secrets in the state store are encrypted with. */
    masterKeyFile: z.string().min(1),
    /** Public key of the authority that signs bundles, SPKI PEM. */
    authorityKey: z.string().min(1),
    /** Private key, only where the authority role runs. */
    authorityPrivateKeyFile: z.string().optional(),
    devices: z
      .array(
        z
          .object({
            id: z.number().int().min(0).max(0xfffe),
            name,
            path: z.string().min(1),
            /** A folder that is no mount point is then refused, not formatted. */
            mountPoint: z.boolean().default(false),
          })
          .strict(),
      )
      .default([]),
    /** Proxy worker processes; 0: the proxy runs inside the node's own process. */
    proxyWorkers: z.number().int().min(0).max(8).default(0),
    /** Simulated round trip between sites, for `anello up --rtt`. */
    rttMs: rtt.default(0),
    /** To sites that are farther away, or nearer. */
    siteRttMs: z.record(z.string(), rtt).default({}),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .strict()
  .superRefine((config, context) => {
    if (config.listen.identityTls !== undefined && config.identityTls === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['identityTls'],
        message: 'listen.identityTls needs a key and a certificate',
      });
    }
    if (config.wireKeyFile === undefined && config.wireTls === undefined) {
      context.addIssue({
        code: 'custom',
        path: ['wireTls'],
        message: 'certificates, or a key for one machine, are needed',
      });
    }
    if (config.workerIds.length < 1 + config.proxyWorkers) {
      context.addIssue({
        code: 'custom',
        path: ['workerIds'],
        message: 'one id per process is needed',
      });
    }
  });

export type NodeConfig = Readonly<z.infer<typeof schema>>;

/** @throws OperatingError `bad-config` with every wrong field named */
export function parseNodeConfig(text: string): NodeConfig {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new OperatingError('bad-config', 'the node file is not YAML', {}, { cause });
  }
  return checkNodeConfig(value);
}

/** @throws OperatingError `bad-config` with every wrong field named */
export function checkNodeConfig(value: unknown): NodeConfig {
  const result = schema.safeParse(value);
  if (result.success) return Object.freeze(result.data);
  const issues = result.error.issues.map(
    (issue) => `${issue.path.join('.') || '(top)'}: ${issue.message}`,
  );
  throw new OperatingError('bad-config', `wrong node file: ${issues.join('; ')}`);
}
