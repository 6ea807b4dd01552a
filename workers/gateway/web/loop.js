// The page's one animation loop. What is drawn registers here, and is asked once per frame; what
// takes long is spread over frames.

const PAINT_MS = 5;
const drawn = new Set();
let running = false;
let begun = 0;

export function animate(part) {
  drawn.add(part);
  if (!running) {
    running = true;
    requestAnimationFrame(turn);
  }
}

export const still = (part) => drawn.delete(part);

// Whether there is time left in this frame to paint.
export const hasTime = () => performance.now() - begun < PAINT_MS;

// A part that has painted waits until all others had their turn.
export function painted(part) {
  if (drawn.delete(part)) drawn.add(part);
}

function turn(now) {
  running = drawn.size > 0;
  begun = performance.now();
  for (const part of [...drawn]) part.draw(now);
  if (running) requestAnimationFrame(turn);
}
