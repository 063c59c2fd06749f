/**
 * The file of a machine that joined a cluster: its name, its disks, where the authority is, and the
 * token that it joined with. Nothing in it has to be the same anywhere else; everything else comes from
 * the authority (src/main/join.ts) and becomes a node file with it.
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { DEFAULT_PORTS, etcdCertificates, nodeName, port, serviceFields } from './node-config.ts';

/** A disk's name on its node follows from its folder. */
export function diskName(folder: string): string {
  const last = folder.replace(/\/+$/, '').split('/').at(-1) ?? '';
  return last.toLowerCase().replace(/[^a-z0-9.-]/g, '-');
}

const schema = z
  .object({
    format: z.literal(1),
    name: nodeName,
    zone: nodeName.default('z1'),
    data: z.string().min(1),
    disks: z.array(z.string().min(1)).max(1024),
    /** A folder that is no mount point is then refused: a disk that is not there must not fill the root. */
    mountPoints: z.boolean().default(true),
    authorities: z.array(z.string().regex(/^https?:\/\/[^\s/]+$/)).min(1),
    token: z.string().optional(),
    /** Address that others reach it under; it listens there too unless `listen.host` says otherwise. */
    address: z.string().min(1).max(253),
    listen: z
      .object({
        host: z.string().optional(),
        wire: port.default(DEFAULT_PORTS.wire),
        admin: port.default(DEFAULT_PORTS.admin),
        adminHost: z.string().default('127.0.0.1'),
        proxy: port.default(DEFAULT_PORTS.proxy),
        authority: port.default(DEFAULT_PORTS.authority),
        identity: port.default(DEFAULT_PORTS.identity),
        identityTls: port.optional(),
      })
      .strict()
      .prefault({}),
    ...serviceFields,
    /** Where etcd's members ask for certificates. */
    etcd: etcdCertificates.optional(),
    proxyWorkers: z.number().int().min(0).max(8).default(0),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  })
  .strict()
  .superRefine(({ disks }, context) => {
    const names = disks.map(diskName);
    if (new Set(names).size < names.length)
      context.addIssue({ code: 'custom', path: ['disks'], message: 'two disks of one name' });
  });

export type MachineFile = Readonly<z.infer<typeof schema>>;

/** Whether a file's text is this form. */
export function isMachineFile(text: string): boolean {
  return /^disks:/m.test(text);
}

/** @throws OperatingError `bad-config` with every wrong field named */
export function parseMachineFile(text: string): MachineFile {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new OperatingError('bad-config', 'the machine file is not YAML', {}, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return Object.freeze(result.data);
  const issues = result.error.issues.map(
    (issue) => `${issue.path.map(String).join('.') || '(top)'}: ${issue.message}`,
  );
  throw new OperatingError('bad-config', `wrong machine file: ${issues.join('; ')}`);
}
