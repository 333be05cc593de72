"use strict";

// The maps are looked up by the time of the frame that the browser says it shows, so that the overlay is either in step
// with the picture or not there.

(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("report-data").textContent);
  const video = byId("video");
  const overlay = byId("overlay");
  const play = byId("play");
  const mute = byId("mute");
  const timeOutput = byId("time");
  const timeline = byId("timeline");
  const playhead = byId("playhead");
  const stateLine = byId("state");
  const showBox = byId("show");
  const opacity = byId("opacity");
  const colours = byId("colours");
  const keys = [...document.querySelectorAll(".key")];

  const TOLERANCE = 0.001; // seconds: browsers round presentation times to microseconds
  const tellsFrames = "requestVideoFrameCallback" in HTMLVideoElement.prototype;

  // ---- Packed data ----

  function bytesOf(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  const tables = {};
  for (const [name, packed] of Object.entries(data.colormaps)) tables[name] = bytesOf(packed);

  // ---- Times and frames ----

  /** The number of the last frame that begins at or before a time; -1 before the first. */
  function frameBefore(time) {
    let low = 0;
    let high = data.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (data.times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The number of the frame with exactly this presentation time; -1 if there is none. */
  function frameWithTime(time) {
    const distance = (number) => Math.abs(data.times[number] - time);
    let number = frameBefore(time + TOLERANCE);
    while (number > 0 && distance(number - 1) < distance(number)) number -= 1; // a thousand frames a second, or more
    return number >= 0 && distance(number) <= TOLERANCE ? number : -1;
  }

  function clockTime(seconds) {
    const tenths = Math.round(seconds * 10);
    const rest = tenths % 600;
    const minutes = Math.floor(tenths / 600) % 60;
    const hours = Math.floor(tenths / 36000);
    const tail = `${String(Math.floor(rest / 10)).padStart(2, "0")}.${rest % 10}`;
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
  }

  // ---- Maps ----

  const [tileWidth, tileHeight] = data.tile;
  const sheets = new Map(); // number -> decoded picture, a few at a time
  const loading = new Set();
  const KEPT_SHEETS = 4;

  /** The sheet, if it is decoded; otherwise it will be, and the overlay drawn then. */
  function sheetFor(number) {
    if (sheets.has(number)) return sheets.get(number);
    const element = byId(`sheet-${number}`);
    if (!element || loading.has(number)) return null;
    loading.add(number);
    const picture = new Image();
    picture.src = `data:image/jpeg;base64,${element.textContent}`;
    picture.decode().then(() => {
      loading.delete(number);
      sheets.set(number, picture);
      while (sheets.size > KEPT_SHEETS) sheets.delete(sheets.keys().next().value);
      if (Math.floor(shown / data.tiles) === number) draw();
    });
    return null;
  }

  const tile = document.createElement("canvas");
  tile.width = tileWidth;
  tile.height = tileHeight;
  const tileContext = tile.getContext("2d", { willReadFrequently: true });
  const context = overlay.getContext("2d");
  context.imageSmoothingQuality = "high";
  let shown = -1; // the number of the frame on the screen; -1 if that is not known

  function draw() {
    context.clearRect(0, 0, overlay.width, overlay.height);
    overlay.dataset.frame = "";
    if (shown < 0 || !showBox.checked) return;
    const sheet = sheetFor(Math.floor(shown / data.tiles));
    if (!sheet) return;
    const place = shown % data.tiles;
    const left = (place % data.columns) * tileWidth;
    const top = Math.floor(place / data.columns) * tileHeight;
    tileContext.drawImage(sheet, left, top, tileWidth, tileHeight, 0, 0, tileWidth, tileHeight);
    const picture = tileContext.getImageData(0, 0, tileWidth, tileHeight);
    const table = tables[colours.value];
    const cover = (255 * Number(opacity.value)) / 100;
    for (let i = 0; i < picture.data.length; i += 4) {
      const level = picture.data[i];
      picture.data[i] = table[3 * level];
      picture.data[i + 1] = table[3 * level + 1];
      picture.data[i + 2] = table[3 * level + 2];
      picture.data[i + 3] = cover * data.covers[level];
    }
    tileContext.putImageData(picture, 0, 0);
    context.drawImage(tile, 0, 0, overlay.width, overlay.height);
    overlay.dataset.frame = String(shown);
  }

  function showFrame(number) {
    shown = number;
    draw();
    if (shown >= 0) sheetFor(Math.floor(shown / data.tiles) + 1); // ready when it is due
  }

  // ---- Video ----

  video.src = URL.createObjectURL(
    new Blob([...document.querySelectorAll(".video-part")].map((part) => bytesOf(part.textContent)), {
      type: "video/mp4",
    }),
  );
  for (const part of document.querySelectorAll(".video-part")) part.remove();

  function say(message) {
    stateLine.textContent = message;
    stateLine.hidden = !message;
  }

  video.addEventListener("error", () => say("This browser cannot play the video (H.264); the rest of the page works."));

  if (tellsFrames) {
    const onFrame = (_, frame) => {
      showFrame(frameWithTime(frame.mediaTime));
      tellTime(frame.mediaTime);
      video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
  } else {
    // Only of a video that stands still is it certain which frame is on the screen.
    const standing = () => showFrame(video.paused && !video.seeking ? frameBefore(video.currentTime) : -1);
    for (const event of ["loadeddata", "pause", "seeked", "play", "seeking"]) video.addEventListener(event, standing);
    video.addEventListener("play", () =>
      say("This browser does not tell which frame it shows: the overlay is there when the video pauses."),
    );
    video.addEventListener("pause", () => say(""));
  }

  function tellTime(time) {
    timeOutput.textContent = clockTime(time);
    playhead.style.left = `${Math.min(100, (100 * time) / data.end)}%`;
    timeline.setAttribute("aria-valuenow", time.toFixed(3));
    const number = frameBefore(time + TOLERANCE);
    const firm = number < 0 ? "" : `, concentration ${data.concentration[number].toFixed(2)}`;
    timeline.setAttribute("aria-valuetext", clockTime(time) + firm);
    let current = -1;
    keys.forEach((key, i) => {
      if (Number(key.dataset.frame) <= number) current = i;
    });
    keys.forEach((key, i) => key.setAttribute("aria-current", String(i === current)));
  }

  video.addEventListener("timeupdate", () => tellTime(video.currentTime));
  video.addEventListener("seeking", () => tellTime(video.currentTime));

  /** Go to a frame: a moment after it begins, where no rounding leads to the one before. */
  function goTo(number) {
    const last = data.times.length - 1;
    const frame = Math.max(0, Math.min(last, number));
    const begins = data.times[frame];
    const ends = frame < last ? data.times[frame + 1] : data.end;
    video.currentTime = begins + Math.min(TOLERANCE, (ends - begins) / 2);
  }

  const goToTime = (time) => goTo(frameBefore(Math.max(0, Math.min(data.end, time)) + TOLERANCE));

  function toggle() {
    if (video.paused) video.play().catch(() => {}); // stopped before it began; what cannot be played says so itself
    else video.pause();
  }

  play.addEventListener("click", toggle);
  video.addEventListener("click", toggle);
  video.addEventListener("play", () => (play.textContent = "Pause"));
  video.addEventListener("pause", () => (play.textContent = "Play"));

  mute.hidden = !data.sound;
  mute.addEventListener("click", () => {
    video.muted = !video.muted;
    mute.setAttribute("aria-pressed", String(video.muted));
  });

  for (const control of [showBox, opacity, colours]) control.addEventListener("input", draw);
  for (const key of keys) key.addEventListener("click", () => goTo(Number(key.dataset.frame)));

  // ---- Timeline ----

  function timeAt(event) {
    const box = timeline.getBoundingClientRect();
    return (data.end * (event.clientX - box.left)) / box.width;
  }

  timeline.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    timeline.setPointerCapture(event.pointerId);
    goToTime(timeAt(event));
  });
  timeline.addEventListener("pointermove", (event) => {
    if (timeline.hasPointerCapture(event.pointerId)) goToTime(timeAt(event));
  });

  // ---- Keys ----

  function nextCut() {
    const cut = data.cuts.find((each) => each > video.currentTime + TOLERANCE);
    return cut === undefined ? data.end : cut;
  }

  /** The last cut before the frame that is shown; half a second earlier while playing, or it would never go back. */
  function cutBefore() {
    const here = video.paused ? data.times[Math.max(0, frameBefore(video.currentTime + TOLERANCE / 10))] : 0;
    const limit = video.paused ? here - TOLERANCE / 10 : video.currentTime - 0.5;
    const early = data.cuts.filter((each) => each < limit);
    return early.length ? early[early.length - 1] : 0;
  }

  function move(key, byFrame) {
    const here = frameBefore(video.currentTime + TOLERANCE / 10);
    const step = key === "ArrowRight" || key === "ArrowUp" ? 1 : -1;
    switch (key) {
      case "ArrowLeft":
      case "ArrowRight":
      case "ArrowUp":
      case "ArrowDown":
        if (byFrame) goTo(here + step);
        else goToTime(video.currentTime + step);
        return true;
      case "PageUp":
        goToTime(cutBefore());
        return true;
      case "PageDown":
        goToTime(nextCut());
        return true;
      case "Home":
        goTo(0);
        return true;
      case "End":
        goTo(data.times.length - 1);
        return true;
      case " ":
        toggle();
        return true;
      default:
        return false;
    }
  }

  timeline.addEventListener("keydown", (event) => {
    if (!event.altKey && !event.ctrlKey && !event.metaKey && move(event.key, event.shiftKey)) event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    // Anywhere else only what scrolls nothing, and not in a control that has keys of its own
    if (event.target !== document.body || event.altKey || event.ctrlKey || event.metaKey) return;
    if (["ArrowLeft", "ArrowRight", " "].includes(event.key) && move(event.key, event.shiftKey)) event.preventDefault();
  });

  tellTime(0);
})();
