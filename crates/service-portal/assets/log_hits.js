// Marks what the filter has found, in browsers with CSS highlights.
const MAX_CHARACTERS = 1000;
const MAX_HITS = 20;
const highlight = globalThis.CSS?.highlights && new Highlight();
if (highlight) CSS.highlights.set("hit", highlight);

// Returns the pattern of a filter; `null` if this language has none like it, or one that may take for ever: with more than one
// quantifier or group.
export function hitPattern(filter) {
  const plain = filter.replace(/\\./g, "");
  if (!filter || !highlight || plain.match(/[*+?{(]/g)?.length > 1) return null;
  try {
    return new RegExp(filter, plain === plain.toLowerCase() ? "giu" : "gu");
  } catch {
    return null;
  }
}

// Marks the hits in an element; returns them for `unmarkHits`.
export function markHits(element, pattern) {
  const hits = [];
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  let [start, end] = [0, nodes.nextNode()?.length ?? 0];
  // Returns the node at a place of the text, and the place within it.
  const locate = (place) => {
    while (place > end && nodes.nextNode()) [start, end] = [end, end + nodes.currentNode.length];
    return [nodes.currentNode, place - start];
  };
  for (const { 0: text, index } of element.textContent.slice(0, MAX_CHARACTERS).matchAll(pattern)) {
    if (hits.length === MAX_HITS) break;
    if (!text) continue;
    const [startContainer, startOffset] = locate(index);
    const [endContainer, endOffset] = locate(index + text.length);
    hits.push(new StaticRange({ startContainer, startOffset, endContainer, endOffset }));
  }
  for (const hit of hits) highlight.add(hit);
  return hits;
}

export const unmarkHits = (hits) => hits?.forEach((hit) => highlight.delete(hit));
