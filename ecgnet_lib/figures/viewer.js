// An ECG viewer in one canvas: 12 leads or one, two signals over each other, zoom, calipers.
// `box` holds the parts that viewer.py wrote; `data` names the leads and both signals.
(box, data) => {
  const canvas = box.querySelector("canvas"), out = box.querySelector("output");
  const part = (name) => box.querySelector(`[data-part="${name}"]`);
  const [lead, raw, clean] = [part("lead"), part("raw"), part("clean")];
  const bytes = Uint8Array.from(atob(data.microvolts), (c) => c.charCodeAt(0));
  const all = new Int16Array(bytes.buffer); // (2, leads, samples)
  const leads = data.leads.length, samples = all.length / 2 / leads, total = samples / data.fs_hz;
  let start = 0, span = Math.min(total, 5), drag = null;

  const value = (kind, row, i) => all[(kind * leads + row) * samples + i] / 1000; // mV
  const rows = () => (lead.value === "" ? data.leads.map((_, k) => k) : [Number(lead.value)]);
  const highest = (row) => {
    let most = 0.5;
    for (let i = 0; i < samples; i++)
      for (const kind of [0, 1]) most = Math.max(most, Math.abs(value(kind, row, i)));
    return most;
  };

  function layout() {
    const shown = rows(), width = canvas.clientWidth;
    const tall = shown.length === 1 ? 320 : 56 * shown.length;
    const band = tall / shown.length;
    const perMv = shown.length === 1 ? (0.45 * tall) / highest(shown[0]) : 24;
    return { shown, width, tall, band, perMv, perS: width / span };
  }

  function lines(pen, at, step, from, to, across, colour) {
    pen.strokeStyle = colour;
    pen.beginPath();
    for (let place = from; place <= to; place += step) {
      const p = Math.round(place) + 0.5;
      pen.moveTo(...(across ? [0, p] : [p, 0]));
      pen.lineTo(...(across ? [at.width, p] : [p, at.tall]));
    }
    pen.stroke();
  }

  function draw() {
    const at = layout(), scale = window.devicePixelRatio || 1, pen = canvas.getContext("2d");
    if (!at.width) return;
    canvas.style.height = `${at.tall}px`;
    canvas.width = at.width * scale;
    canvas.height = at.tall * scale;
    pen.scale(scale, scale);
    pen.fillStyle = "#fffafa";
    pen.fillRect(0, 0, at.width, at.tall);
    const first = (-start * at.perS) % (0.2 * at.perS);
    if (0.04 * at.perS >= 4) lines(pen, at, 0.04 * at.perS, first, at.width, false, "#f7dede");
    if (0.1 * at.perMv >= 4)
      lines(pen, at, 0.1 * at.perMv, (at.tall / 2) % (0.1 * at.perMv), at.tall, true, "#f7dede");
    lines(pen, at, 0.2 * at.perS, first, at.width, false, "#edb9b9");
    lines(pen, at, 0.5 * at.perMv, (at.tall / 2) % (0.5 * at.perMv), at.tall, true, "#edb9b9");

    const from = Math.max(0, Math.floor(start * data.fs_hz));
    const to = Math.min(samples - 1, Math.ceil((start + span) * data.fs_hz));
    at.shown.forEach((row, k) => {
      const zero = (k + 0.5) * at.band;
      for (const [kind, on, colour] of [[0, raw.checked, "#8c8c8c"], [1, clean.checked, "#b34700"]]) {
        if (!on) continue;
        pen.strokeStyle = colour;
        pen.lineWidth = 1.3;
        pen.beginPath();
        for (let i = from; i <= to; i++)
          pen.lineTo((i / data.fs_hz - start) * at.perS, zero - value(kind, row, i) * at.perMv);
        pen.stroke();
      }
      pen.fillStyle = "#1a1a1a";
      pen.font = "bold 13px sans-serif";
      pen.fillText(data.leads[row], 4, zero - 0.2 * at.band);
    });
    if (drag) {
      pen.fillStyle = "rgba(0, 114, 178, 0.15)";
      pen.fillRect(drag.x0, 0, drag.x1 - drag.x0, at.tall);
      pen.strokeStyle = "#0072b2";
      pen.strokeRect(drag.x0, drag.y0, drag.x1 - drag.x0, drag.y1 - drag.y0);
    }
    say(at);
  }

  function say(at) {
    let text = `${start.toFixed(2)} to ${(start + span).toFixed(2)} s`;
    if (drag && (Math.abs(drag.x1 - drag.x0) > 1 || Math.abs(drag.y1 - drag.y0) > 1)) {
      const seconds = Math.abs(drag.x1 - drag.x0) / at.perS;
      const mv = Math.abs(drag.y1 - drag.y0) / at.perMv;
      text += ` | calipers: ${Math.round(1000 * seconds)} ms, ${mv.toFixed(2)} mV, `;
      text += seconds * at.perS > 1 ? `${Math.round(60 / seconds)} per minute` : "no time between";
    }
    out.textContent = text;
  }

  function view(from, wide) {
    const left = drag && [0, 1].map((k) => start + drag[`x${k}`] / (canvas.clientWidth / span));
    span = Math.min(total, Math.max(0.5, wide));
    start = Math.min(total - span, Math.max(0, from));
    if (drag) [drag.x0, drag.x1] = left.map((s) => ((s - start) * canvas.clientWidth) / span);
    draw();
  }
  const zoom = (factor) => view(start + (span - span * factor) / 2, span * factor);
  const pan = (share) => view(start + share * span, span);
  const actions = {
    in: () => zoom(0.5), out: () => zoom(2), left: () => pan(-0.25), right: () => pan(0.25),
  };
  for (const [name, act] of Object.entries(actions)) part(name).addEventListener("click", act);
  // Calipers without a pointer: placed in the middle, then stretched by 10 ms or 0.05 mV a key.
  function place() {
    const at = layout();
    drag = { x0: at.width / 2, y0: at.tall / 2, x1: at.width / 2, y1: at.tall / 2 };
    draw();
  }
  function stretch(seconds, mv) {
    if (!drag) place();
    const at = layout();
    drag.x1 += seconds * at.perS;
    drag.y1 -= mv * at.perMv;
    draw();
  }
  function drop() {
    drag = null;
    draw();
  }
  const keys = {
    "+": actions.in, "-": actions.out, ArrowLeft: actions.left, ArrowRight: actions.right,
    c: place, Escape: drop,
    "shift ArrowLeft": () => stretch(-0.01, 0), "shift ArrowRight": () => stretch(0.01, 0),
    "shift ArrowUp": () => stretch(0, 0.05), "shift ArrowDown": () => stretch(0, -0.05),
  };
  canvas.addEventListener("keydown", (event) => {
    const arrow = event.shiftKey && event.key.startsWith("Arrow");
    const act = keys[arrow ? `shift ${event.key}` : event.key];
    if (!act || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    act();
  });
  for (const field of [lead, raw, clean])
    field.addEventListener("change", () => {
      drag = null; // its height means another voltage now
      draw();
    });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { x0: event.offsetX, y0: event.offsetY, x1: event.offsetX, y1: event.offsetY };
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag || !event.buttons) return;
    [drag.x1, drag.y1] = [event.offsetX, event.offsetY];
    draw();
  });
  new ResizeObserver(draw).observe(canvas.parentElement);
  draw();
}
