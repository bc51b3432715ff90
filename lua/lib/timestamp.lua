-- timestamp(ms, second, written) -> RFC 3339 in UTC with milliseconds; `ms` since 1970, as decimal
-- text. `written` is the text of the `second` (since 1970, decimal text) up to the dot after it:
-- within that second only the milliseconds have to be added. Redis's Lua has no os.date; the
-- calendar is days_to_civil of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
local function timestamp(ms, second, written)
  if string.sub(ms, 1, -4) == second then return written .. string.sub(ms, -3) .. 'Z' end
  ms = tonumber(ms)
  local floor = math.floor
  local day = floor(ms / 86400000) + 719468
  local era = floor(day / 146097)
  local of_era = day - era * 146097
  local year_of_era = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local from_march = floor((5 * of_year + 2) / 153)
  local month = from_march < 10 and from_march + 3 or from_march - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  local in_day = ms % 86400000
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ',
    year, month, of_year - floor((153 * from_march + 2) / 5) + 1,
    floor(in_day / 3600000), floor(in_day / 60000) % 60, floor(in_day / 1000) % 60, in_day % 1000)
end

