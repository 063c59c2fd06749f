/** From a token that was verified to the caller it speaks for, with the policies that govern them. */
import type { Directory } from '#identity/directory.ts';
import { governanceOf } from '#identity/iam/governance.ts';
import type { VerifiedToken } from '#identity/token-verifier.ts';
import type { UserCaller } from './caller.ts';

export function callerOf(directory: Directory, token: VerifiedToken): UserCaller {
  const { user, project, roles, fields } = token;
  return {
    kind: 'user',
    userId: user.id,
    userName: user.name,
    domainId: user.domainId,
    ...(project && {
      projectId: project.id,
      projectName: project.name,
      projectDomainId: project.domainId,
    }),
    roles: roles.map(({ name }) => name),
    expires: fields.expiresMs,
    ...governing(directory, token),
  };
}

/** What there is of it: most callers have no policies. */
function governing(directory: Directory, token: VerifiedToken): Partial<UserCaller> {
  const { governed, policies, groups, role, sessionPolicy } = governanceOf(directory, token);
  return {
    ...(governed && { governed }),
    ...(policies.length > 0 && { policies }),
    ...(groups.length > 0 && { groups }),
    ...(role && { assumedRole: role }),
    ...(sessionPolicy !== undefined && { sessionPolicy }),
  };
}
