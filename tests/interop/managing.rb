# frozen_string_literal: true

# One side makes the jobs, the other side manages them.

# Lets Rust do something to jobs of one place, and returns to how many.
def admin(*args)
  output = IO.popen([ENV.fetch("VERK_ADMIN"), *args], &:read)
  assert $?.success?, "the admin failed: #{output}"
  Integer(output)
end

default = Sidekiq::Queue.new("default")
odd = { "trace" => { "id" => 12_345_678_901_234_567, "ratio" => 0.1, "path" => [] }, "tags" => %w[vip] }
push = ->(*args) { Payments::Charge.set(odd).perform_async(*args) }

# A job as Ruby puts it into the retry set.
fail_in_ruby = lambda do |jid, retry_count|
  item = default.find_job(jid).item.merge("retry_count" => retry_count, "failed_at" => Time.now.to_f, "error_message" => "no")
  default.find_job(jid).delete
  redis { |r| r.zadd("retry", (Time.now.to_f + 3600).to_s, Sidekiq.dump_json(item)) }
  item
end

check "Rust requeues a retry of Ruby as Ruby does" do
  rust, ruby = push.call(1), push.call(1)
  [[rust, 0], [ruby, 0]].each { |jid, count| fail_in_ruby.call(jid, count) }
  assert_equal 1, admin("requeue", "retry", rust), "requeued by Rust"
  assert_equal 0, admin("requeue", "retry", rust), "requeued again by Rust"
  find(retries, ruby).retry
  by_rust, by_ruby = default.find_job(rust).item, default.find_job(ruby).item
  own = %w[jid created_at enqueued_at failed_at]
  assert_equal by_ruby.except(*own), by_rust.except(*own), "what Rust requeued"
  assert_equal(-1, by_rust["retry_count"], "retry_count")
  assert_equal 0, retries.size, "retries"
  assert_between 0..60, default.find_job(rust).latency, "latency"
  default.clear
end

check "Rust kills a job of Ruby, and Ruby retries it" do
  jid = push.call(2)
  item = fail_in_ruby.call(jid, 3)
  assert_equal 1, admin("kill", "retry", jid), "killed"
  entry = find(dead, jid)
  assert_equal item, entry.item, "the dead job"
  assert_between (Time.now - 60)..(Time.now + 1), entry.at, "time of death"
  entry.retry
  assert_equal 2, default.find_job(jid)["retry_count"], "retry_count"
  default.clear
end

check "Ruby kills a job of Rust, and Rust requeues it" do
  jid = rust_client["charge"].first
  item = default.find_job(jid).item
  default.clear
  Sidekiq::Queue.new("mailers").clear
  scheduled.clear
  dead.kill(Sidekiq.dump_json(item))
  assert_equal 1, admin("requeue", "dead", "all", "Payments::Charge"), "requeued"
  assert_equal item.except("enqueued_at"), default.find_job(jid).item.except("enqueued_at"), "the job"
  default.clear
end

check "Rust deletes one job of Ruby's queue" do
  jids = Array.new(3) { |n| push.call(n) }
  assert_equal 1, admin("delete", "default", jids[1]), "deleted"
  assert_equal jids.values_at(0, 2).sort, default.map(&:jid).sort, "what is left"
  default.clear
end

check "Rust reschedules Ruby's jobs, and Ruby adds them to their queue" do
  jids = Array.new(3) { |n| Payments::Charge.perform_in(60, n) }
  assert_equal 3, admin("later", "schedule", "all", "Payments::Charge"), "rescheduled"
  scheduled.each { |entry| assert_between (Time.now + 3500)..(Time.now + 3700), entry.at, "at" }
  scheduled.each(&:add_to_queue)
  assert_equal jids.sort, default.map(&:jid).sort, "the queue"
  assert_equal 3, admin("kill", "default", "all"), "killed"
  assert_equal jids.sort, dead.map(&:jid).sort, "the dead set"
  assert_equal 3, admin("delete", "dead", "all"), "deleted"
end
