// The icons of the standard catalogue, drawn for this page: strokes on a grid of 24 by 24, a leading `!` for what is
// filled as well.
"use strict";
(() => {
  const a2ui = (globalThis.clawgateA2UI ??= {});
  const circle = (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
  const SLASH = "M4 4l16 16";

  const HANDSET =
    "M6.5 3.5h3l1.6 4-2 1.6a12 12 0 0 0 5.8 5.8l1.6-2 4 1.6v3a2 2 0 0 1-2.2 2A16 16 0 0 1 4.5 5.7a2 2 0 0 1 2-2.2z";
  const HEART = "M12 20s-8-4.8-8-10.6A4.4 4.4 0 0 1 12 7a4.4 4.4 0 0 1 8 2.4C20 15.2 12 20 12 20z";
  const STAR = "M12 3.5l2.6 5.4 5.9.8-4.3 4.1 1.1 5.9L12 16.8l-5.3 2.9 1.1-5.9L3.5 9.7l5.9-.8z";
  const BELL = "M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 1.5h-15zM10 20.5a2.1 2.1 0 0 0 4 0";
  const EYE = `M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12z${circle(12, 12, 3)}`;
  const PAGE = "M4 6.5h16v14H4zM4 10.5h16M8 3.5v4M16 3.5v4";
  const PERSON = `${circle(12, 8, 4)}M4.5 20.5a7.5 7.5 0 0 1 15 0`;
  const ROUND = circle(12, 12, 9);
  const SPEAKER = "M4 9.5v5h3.5l5 4v-13l-5 4z";

  const ICONS = {
    accountCircle: `${ROUND}${circle(12, 10, 3)}M6.2 18.8a6.5 6.5 0 0 1 11.6 0`,
    add: "M12 5v14M5 12h14",
    arrowBack: "M20 12H5M11 6l-6 6 6 6",
    arrowForward: "M4 12h15M13 6l6 6-6 6",
    attachFile: "M8 7v9.5a4 4 0 0 0 8 0V6.5a2.7 2.7 0 0 0-5.4 0V16a1.3 1.3 0 0 0 2.6 0V8",
    calendarToday: `${PAGE}M8 14h3v3H8z`,
    call: HANDSET,
    camera: `M4 7.5h4l1.5-2.5h5L16 7.5h4v12H4z${circle(12, 13, 3.5)}`,
    check: "M5 12.5l4.5 4.5L19 7.5",
    close: "M6 6l12 12M18 6L6 18",
    delete: "M4.5 6.5h15M9.5 6.5v-3h5v3M6.5 6.5l1 14h9l1-14M10 10.5v6M14 10.5v6",
    download: "M12 4v11M7 10.5l5 5 5-5M4.5 20h15",
    edit: "M4.5 19.5l1-4.5L16 4.5l3.5 3.5L9 18.5zM13.5 7l3.5 3.5",
    event: `${PAGE}M13 14h3v3h-3z`,
    error: `${ROUND}M12 7.5v5.5M12 16.3v.2`,
    fastForward: "!M4 7v10l7.5-5zM12.5 7v10l7.5-5z",
    favorite: `!${HEART}`,
    favoriteOff: HEART,
    folder: "M3.5 6h6l2 2.5h9v10.5h-17z",
    help: `${ROUND}M9.3 9.5a2.7 2.7 0 1 1 4.2 2.3c-1 .7-1.5 1.2-1.5 2.2M12 16.8v.2`,
    home: "M3.5 11.5L12 4l8.5 7.5M6 9.5v10.5h4.5v-6h3v6H18V9.5",
    info: `${ROUND}M12 11v5.5M12 7.5v.2`,
    locationOn: `M12 21s-7-6.3-7-11.5a7 7 0 0 1 14 0C19 14.7 12 21 12 21z${circle(12, 9.5, 2.5)}`,
    lock: "M5.5 10.5h13v10h-13zM8.5 10.5V8a3.5 3.5 0 0 1 7 0v2.5M12 14.5v2.5",
    lockOpen: "M5.5 10.5h13v10h-13zM8.5 10.5V7a3.5 3.5 0 0 1 6.8-1.2M12 14.5v2.5",
    mail: "M3.5 5.5h17v13h-17zM3.5 6.5l8.5 6.5 8.5-6.5",
    menu: "M4 7h16M4 12h16M4 17h16",
    moreVert: `!${circle(12, 5.5, 1)}${circle(12, 12, 1)}${circle(12, 18.5, 1)}`,
    moreHoriz: `!${circle(5.5, 12, 1)}${circle(12, 12, 1)}${circle(18.5, 12, 1)}`,
    notificationsOff: `${BELL}${SLASH}`,
    notifications: BELL,
    pause: "M8.5 6v12M15.5 6v12",
    payment: "M3 5.5h18v13H3zM3 9.5h18M6.5 14.5h4",
    person: PERSON,
    phone: HANDSET,
    photo: `M3.5 4.5h17v15h-17zM3.5 16l5-5 4 4 3-3 5 5${circle(15.5, 8.5, 1.2)}`,
    play: "!M8 5.5v13l10-6.5z",
    print: "M7 8V3.5h10V8M7 17H3.5V8h17v9H17M7 14h10v6.5H7z",
    refresh: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4L19.5 9M19.5 4v5h-5",
    rewind: "!M20 7v10l-7.5-5zM11.5 7v10L4 12z",
    search: `${circle(10.5, 10.5, 6)}M15 15l5.5 5.5`,
    send: "M3.5 4.5l17.5 7.5-17.5 7.5 2.5-7.5zM6 12h8",
    settings: `${circle(12, 12, 6)}${circle(12, 12, 2.2)}M12 2.5V6M12 18v3.5M2.5 12H6M18 12h3.5M5.3 5.3l2.5 2.5M16.2 16.2l2.5 2.5M5.3 18.7l2.5-2.5M16.2 7.8l2.5-2.5`,
    share: `${circle(6, 12, 2.5)}${circle(17.5, 6, 2.5)}${circle(17.5, 18, 2.5)}M8.3 10.9l7-3.7M8.3 13.1l7 3.7`,
    shoppingCart: `M2.5 4h3l2.5 11h10l2.5-8H6.3${circle(9.5, 19, 1.3)}${circle(16.5, 19, 1.3)}`,
    skipNext: "!M6 6.5v11l8.5-5.5zM17.5 6v12",
    skipPrevious: "!M18 6.5v11L9.5 12zM6.5 6v12",
    star: `!${STAR}`,
    starHalf: `${STAR}M12 3.5v13.3M9.4 9.5v8.5M6.5 10.2l1.5 8`,
    starOff: STAR,
    stop: "!M6.5 6.5h11v11h-11z",
    upload: "M12 16V4.5M7 9.5l5-5 5 5M4.5 20h15",
    visibility: EYE,
    visibilityOff: `${EYE}${SLASH}`,
    volumeDown: `${SPEAKER}M16 9.5a4 4 0 0 1 0 5`,
    volumeMute: SPEAKER,
    volumeOff: `${SPEAKER}M16 9.5l5 5M21 9.5l-5 5`,
    volumeUp: `${SPEAKER}M16 9.5a4 4 0 0 1 0 5M18.5 7a7.5 7.5 0 0 1 0 10`,
    warning: "M12 4l9 16H3zM12 10v5M12 17.3v.2",
  };
  const UNKNOWN = `M4 4h16v16H4zM9.5 9.7a2.5 2.5 0 1 1 3.8 2.1c-.9.6-1.3 1-1.3 1.9M12 16.3v.2`;

  /** `{d, filled, label}` of an icon by its name, `arrowBack` or `arrow_back`; a question mark for an unknown one. */
  function icon(name) {
    const camel = name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
    const drawn = Object.hasOwn(ICONS, camel) ? ICONS[camel] : UNKNOWN;
    const label = camel
      .replace(/([A-Z])/g, " $1")
      .toLowerCase()
      .trim()
      .slice(0, 60);
    return { d: drawn.replace(/^!/, ""), filled: drawn.startsWith("!"), label };
  }

  Object.assign(a2ui, { icon, ICONS });
})();
