/**
 * Policies of users, groups and roles, written into them. Managed policies are not offered: lists of what
 * is attached are empty, as tools ask for them before they delete.
 */
import { MAX_STATEMENTS, parsePolicy } from '#auth/policy/policy.ts';
import type { IamKind } from '#identity/iam/names.ts';
import {
  type IamAction,
  type IamCall,
  invalid,
  mustBeAllowed,
  page,
  required,
  trace,
} from './iam-call.ts';
import { leaf } from './query-xml.ts';

const NAME_FIELDS = { user: 'UserName', group: 'GroupName', role: 'RoleName' } as const;
/** As IAM takes it; what may be kept of it is less (policy-book.ts). */
const MAX_DOCUMENT = 131_072;

interface Owner {
  readonly kind: IamKind;
  readonly id: string;
  readonly name: string;
}

async function ownerOf(call: IamCall, kind: IamKind): Promise<Owner> {
  const name = required(call, NAME_FIELDS[kind]);
  mustBeAllowed(call, kind, name);
  const { people, roles } = call.api.identity.iam;
  const found =
    kind === 'role'
      ? await roles.get(call.project, name)
      : await people.owner(call.project, kind, name);
  return { kind, id: found.id, name };
}

/** @throws OperatingError `bad-request`, `malformed-policy` */
export function documentOf(
  call: IamCall,
  field: string,
  kind: { readonly trust: boolean },
): string {
  const text = call.fields[field]?.trim() ?? '';
  if (text.length === 0 || text.length > MAX_DOCUMENT)
    throw invalid(`The specified value for ${field} is invalid.`);
  const policy = parsePolicy(
    text,
    kind.trust ? { principals: true, trust: true } : { principals: false },
  );
  if (policy.statements.length > MAX_STATEMENTS) throw invalid('Too many statements.');
  return text;
}

function actionsOf(kind: IamKind): Record<string, IamAction> {
  const what = `${kind[0]!.toUpperCase()}${kind.slice(1)}`;
  const put: IamAction = async (call) => {
    const name = required(call, 'PolicyName');
    const owner = await ownerOf(call, kind);
    const text = documentOf(call, 'PolicyDocument', { trust: false });
    await call.api.identity.iam.policies.put(call.project.id, kind, owner.id, { name, text });
    trace(call, { owner: owner.id, policy: name });
    return undefined;
  };
  const get: IamAction = async (call) => {
    const name = required(call, 'PolicyName');
    const owner = await ownerOf(call, kind);
    const { policies } = call.api.identity.iam;
    const text = await policies.get(call.project.id, kind, owner.id, name);
    return (
      leaf(NAME_FIELDS[kind], owner.name) +
      leaf('PolicyName', name) +
      leaf('PolicyDocument', encodeURIComponent(text))
    );
  };
  const list: IamAction = async (call) => {
    const owner = await ownerOf(call, kind);
    const names = await call.api.identity.iam.policies.names(call.project.id, kind, owner.id);
    const items = names.map((name) => ({ name }));
    return pageOfNames(call, items);
  };
  const remove: IamAction = async (call) => {
    const name = required(call, 'PolicyName');
    const owner = await ownerOf(call, kind);
    await call.api.identity.iam.policies.remove(call.project.id, kind, owner.id, name);
    trace(call, { owner: owner.id, policy: name });
    return undefined;
  };
  const attached: IamAction = async (call) => {
    await ownerOf(call, kind);
    return page(call, 'AttachedPolicies', [], () => '');
  };
  return {
    [`Put${what}Policy`]: put,
    [`Get${what}Policy`]: get,
    [`List${what}Policies`]: list,
    [`Delete${what}Policy`]: remove,
    [`ListAttached${what}Policies`]: attached,
  };
}

/** Members of this list are names, not structures. */
function pageOfNames(call: IamCall, items: readonly { readonly name: string }[]): string {
  return page(call, 'PolicyNames', items, ({ name }) => name);
}

export const POLICY_ACTIONS: Readonly<Record<string, IamAction>> = {
  ...actionsOf('user'),
  ...actionsOf('group'),
  ...actionsOf('role'),
};
