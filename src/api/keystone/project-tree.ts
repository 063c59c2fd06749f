/**
 * What is above and below a project: `parents_as_list` and `subtree_as_list` give the projects that
 * the caller has a role on, `parents_as_ids` and `subtree_as_ids` all ids, one within the other.
 */
import type { Context } from 'hono';
import { OperatingError } from '#base/errors.ts';
import type { Project } from '#identity/records.ts';
import type { KeystoneApi } from './api.ts';
import { queryFlag } from './filters.ts';
import { Renderer } from './render.ts';

type Ids = { [id: string]: Ids | null };

/** What the query asks for beside the project itself. @throws OperatingError `bad-request` */
export async function relatives(
  api: KeystoneApi,
  c: Context,
  project: Project,
): Promise<Record<string, unknown>> {
  const above = form(c, 'parents');
  const below = form(c, 'subtree');
  if (above === undefined && below === undefined) return {};
  const tree = new ProjectTree(await api.identity.projects.list());
  const listed = async (found: readonly Project[]): Promise<unknown[]> => {
    const own = new Set(await api.identity.scopes.projectsOf(api.caller(c).user.id));
    const renderer = new Renderer(api);
    return found
      .filter(({ id }) => own.has(id))
      .map((one) => ({ project: renderer.project(c, one) }));
  };
  return {
    ...(above === 'list' && { parents: await listed(tree.above(project)) }),
    ...(above === 'ids' && { parents: tree.idsAbove(project) }),
    ...(below === 'list' && { subtree: await listed(tree.below(project.id)) }),
    ...(below === 'ids' && { subtree: tree.idsBelow(project.id) }),
  };
}

function form(c: Context, what: 'parents' | 'subtree'): 'list' | 'ids' | undefined {
  const asList = queryFlag(c, `${what}_as_list`) === true;
  const asIds = queryFlag(c, `${what}_as_ids`) === true;
  if (asList && asIds) {
    const both = `Use either ${what}_as_list or ${what}_as_ids.`;
    throw new OperatingError('bad-request', both);
  }
  return asList ? 'list' : asIds ? 'ids' : undefined;
}

export class ProjectTree {
  readonly #byId: ReadonlyMap<string, Project>;
  readonly #children: ReadonlyMap<string, readonly Project[]>;

  constructor(projects: readonly Project[]) {
    this.#byId = new Map(projects.map((project) => [project.id, project]));
    this.#children = Map.groupBy(projects, ({ parentId, domainId }) => parentId ?? domainId);
  }

  /** The nearest first. A parent can't be changed, so there are no circles. */
  above(project: Project): Project[] {
    const found: Project[] = [];
    let parent = project.parentId === undefined ? undefined : this.#byId.get(project.parentId);
    while (parent !== undefined) {
      found.push(parent);
      parent = parent.parentId === undefined ? undefined : this.#byId.get(parent.parentId);
    }
    return found;
  }

  inDomain(id: string): Project[] {
    return [...this.#byId.values()].filter(({ domainId }) => domainId === id);
  }

  /** All below a project, each after what it is in. */
  below(id: string): Project[] {
    const found: Project[] = [...(this.#children.get(id) ?? [])];
    for (const project of found) found.push(...(this.#children.get(project.id) ?? []));
    return found;
  }

  /** The domain is the outermost. */
  idsAbove(project: Project): Ids {
    let ids: Ids = { [project.domainId]: null };
    for (const { id } of this.above(project).reverse()) ids = { [id]: ids };
    return ids;
  }

  /** Null: nothing is below. */
  idsBelow(id: string): Ids | null {
    const children = this.#children.get(id);
    if (children === undefined) return null;
    return Object.fromEntries(children.map((child) => [child.id, this.idsBelow(child.id)]));
  }
}
