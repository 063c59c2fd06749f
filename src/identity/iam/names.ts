/** How IAM's names are made: a project is an account, and has a domain of its own for its users. */
import { createHash } from 'node:crypto';

/** Where the users and groups of a project's own are: their names are no one else's. */
export function iamDomainId(projectId: string): string {
  return createHash('sha256').update(`anello iam domain\0${projectId}`).digest('hex').slice(0, 32);
}

export function iamDomainName(projectId: string): string {
  return `iam-${projectId}`;
}

export type IamKind = 'user' | 'group' | 'role';

export function arnOf(projectId: string, kind: IamKind, name: string): string {
  return `arn:aws:iam::${projectId}:${kind}/${name}`;
}
