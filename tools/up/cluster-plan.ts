/** From a description of sites and the options of `anello up` to what each node process gets. Pure. */
import path from 'node:path';
import type { Role } from '#config/node-config.ts';
import type { ClusterDescription } from '#ring/description.ts';
import { type NodePorts, PortPlan } from './ports.ts';

export interface DevicePlan {
  readonly id: number;
  readonly name: string;
  readonly path: string;
}

export interface NodePlan {
  readonly name: string;
  readonly site: string;
  readonly zone: string;
  readonly roles: readonly Role[];
  readonly folder: string;
  readonly configFile: string;
  readonly ports: NodePorts;
  /** The node's own, then one per proxy worker; never given to another process. */
  readonly workerIds: readonly number[];
  readonly devices: readonly DevicePlan[];
}

export interface PlanOptions {
  readonly folder: string;
  readonly basePort: number;
  readonly workers: number;
}

/** Worker ids of one node lie apart, so that more workers later take no other node's. */
const IDS_PER_NODE = 16;

/** The first node of every site has a proxy and identity, the first of all the authority. */
export function planNodes(description: ClusterDescription, options: PlanOptions): NodePlan[] {
  const ports = new PortPlan(options.basePort);
  const sites = new Set<string>();
  let deviceId = 0;
  return description.nodes.map((node, n) => {
    const first = !sites.has(node.site);
    sites.add(node.site);
    const roles: Role[] = ['storage'];
    if (first) roles.unshift('proxy', 'identity');
    if (n === 0) roles.push('authority');
    const folder = path.join(options.folder, 'nodes', node.name);
    return {
      name: node.name,
      site: node.site,
      zone: node.zone,
      roles,
      folder,
      configFile: path.join(folder, 'node.yaml'),
      ports: ports.next({ proxy: first, authority: n === 0, workers: options.workers }),
      workerIds: Array.from(
        { length: 1 + (first ? options.workers : 0) },
        (_, w) => 1 + n * IDS_PER_NODE + w,
      ),
      devices: node.devices.map((device) => ({
        id: deviceId++,
        name: device.name,
        path: path.join(folder, 'devices', device.name),
      })),
    };
  });
}
