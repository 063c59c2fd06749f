import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** Every file below a folder with its MD5, by relative path: what was uploaded against what came back. */
export function folderSums(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const digest = createHash('md5').update(readFileSync(file)).digest('hex');
    found.set(path.relative(folder, file), digest);
  }
  return found;
}
