/**
 * From what a certificate (or a signed web token) proves to a user, a project and roles: a rules file.
 *
 *     version: 1
 *     rules:
 *       - name: atlas production
 *         when: { fqan: ["/atlas/Role=production"] }
 *         project: atlas
 *         roles: [swiftoperator]
 *       - name: anybody of atlas
 *         when: { vo: [atlas], subject: ["/DC=ch/*", "/C=IT/*"] }
 *         user: "{cn}"
 *         project: atlas
 *         roles: [reader]
 *         groups: [atlas-users]
 *
 * The first rule whose every condition holds decides; a condition holds when any of its patterns fits
 * (`*` any run, `?` one character). Without a rule nobody gets in. A virtual organisation is thus a
 * project: `atlas:*` in an ACL names its members. A name that is filled in never leads to a user with a
 * password: else a certificate for CN=admin would be the administrator's.
 */
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { DEFAULT_DOMAIN_ID, domainIdSchema, nameSchema } from './id.ts';
import { matchesPattern } from './x509/signing-policy.ts';

const patterns = z.array(z.string().min(1).max(1024)).min(1).max(256);

const ruleSchema = z.strictObject({
  name: z.string().max(255).default(''),
  when: z
    .strictObject({
      subject: patterns.optional(),
      issuer: patterns.optional(),
      vo: patterns.optional(),
      fqan: patterns.optional(),
      /** Claims of a web token, by name. */
      claim: z.record(z.string(), patterns).optional(),
    })
    .refine(
      (when) => Object.values(when).some((condition) => condition !== undefined),
      'no condition',
    ),
  /** `{subject}`, `{cn}` and `{issuer}` are filled in. */
  user: z.string().min(1).max(255).default('{subject}'),
  domain: domainIdSchema.default(DEFAULT_DOMAIN_ID),
  project: nameSchema,
  roles: z.array(nameSchema).max(64).default([]),
  groups: z.array(nameSchema).max(64).default([]),
});
export type MappingRule = z.output<typeof ruleSchema>;

const fileSchema = z.strictObject({ version: z.literal(1), rules: z.array(ruleSchema).max(1000) });

export interface ProvenAttributes {
  readonly subject: string;
  readonly issuer: string;
  readonly vos: readonly string[];
  readonly fqans: readonly string[];
  readonly claims?: Readonly<Record<string, readonly string[]>>;
}

export interface Mapped {
  readonly rule: string;
  readonly user: string;
  /** The name comes from the certificate, not from the rule alone. */
  readonly filledIn: boolean;
  readonly domainId: string;
  readonly project: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
}

/** @throws OperatingError `bad-mapping` with the place in the file */
export function parseMapping(value: unknown): MappingRule[] {
  const parsed = fileSchema.safeParse(value);
  if (parsed.success) return parsed.data.rules;
  const issue = parsed.error.issues[0];
  throw new OperatingError(
    'bad-mapping',
    `mapping rules: ${issue?.path.join('.')}: ${issue?.message}`,
  );
}

/** Undefined: no rule fits. */
export function applyMapping(
  rules: readonly MappingRule[],
  proven: ProvenAttributes,
): Mapped | undefined {
  const rule = rules.find((candidate) => holds(candidate, proven));
  if (rule === undefined) return undefined;
  const { name, domain: domainId, project, roles, groups } = rule;
  const user = fillIn(rule.user, proven);
  return { rule: name, user, filledIn: user !== rule.user, domainId, project, roles, groups };
}

function holds({ when }: MappingRule, proven: ProvenAttributes): boolean {
  const { subject, issuer, vo, fqan, claim } = when;
  const claims = Object.entries(claim ?? {});
  return (
    fits(subject, [proven.subject]) &&
    fits(issuer, [proven.issuer]) &&
    fits(vo, proven.vos) &&
    fits(fqan, proven.fqans) &&
    claims.every(([name, wanted]) => fits(wanted, proven.claims?.[name] ?? []))
  );
}

function fits(wanted: readonly string[] | undefined, values: readonly string[]): boolean {
  if (wanted === undefined) return true;
  return values.some((value) => wanted.some((pattern) => matchesPattern(pattern, value)));
}

function fillIn(template: string, { subject, issuer }: ProvenAttributes): string {
  const cn = /.*\/CN=([^/]*(?:\/(?![A-Za-z0-9.]+=)[^/]*)*)$/.exec(subject)?.[1] ?? subject;
  const values: Readonly<Record<string, string>> = { subject, issuer, cn };
  const filled = template.replace(/\{(subject|issuer|cn)\}/g, (_, name: string) => values[name]!);
  const name = nameSchema.safeParse(filled);
  if (!name.success)
    throw new OperatingError('unauthorized', 'The name is not usable as a user name.');
  return name.data;
}
