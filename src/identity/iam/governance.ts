/** What policies say of a caller: which ones, and under which names they know them. Pure; from the directory. */
import type { Directory } from '../directory.ts';
import type { VerifiedToken } from '../token-verifier.ts';
import { iamDomainId } from './names.ts';

export interface Governance {
  /** Made for policies, or in a project's role: has no other rights in the project. */
  readonly governed: boolean;
  /** Texts of the user's and their groups' policies in the project, or of the role's. */
  readonly policies: readonly string[];
  /** Ids, and names where they are of the project's own domain, so that they are no one else's. */
  readonly groups: readonly { readonly id: string; readonly name?: string }[];
  readonly role?: { readonly name: string; readonly session: string };
  readonly sessionPolicy?: string;
}

export function governanceOf(directory: Directory, token: VerifiedToken): Governance {
  const { user, project, session } = token;
  if (project === undefined) return { governed: false, policies: [], groups: [] };
  const ofOwner = (kind: string, id: string): readonly string[] =>
    directory.policies.get(`${project.id}/${kind}/${id}`) ?? [];
  const { policy: sessionPolicy, role } = session ?? {};
  const narrowed = sessionPolicy === undefined ? {} : { sessionPolicy };
  if (role !== undefined) {
    const name = directory.iamRoles.get(role.id)?.name ?? '';
    const taken = { name, session: role.session };
    return {
      ...{ governed: true, policies: ofOwner('role', role.id), groups: [], role: taken },
      ...narrowed,
    };
  }
  const ownDomain = iamDomainId(project.id);
  const ids = new Set([...(directory.memberships.get(user.id) ?? []), ...(session?.groups ?? [])]);
  const groups = [...ids].flatMap((id) => {
    const group = directory.groups.get(id);
    if (group === undefined) return [];
    const isOwn = group.domainId === ownDomain || group.domainId === project.domainId;
    return [isOwn ? { id, name: group.name } : { id }];
  });
  const policies = [
    ...ofOwner('user', user.id),
    ...groups.flatMap(({ id }) => ofOwner('group', id)),
  ];
  return { governed: user.domainId === ownDomain, policies, groups, ...narrowed };
}
